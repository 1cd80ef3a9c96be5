import { dirname, join } from 'node:path'
import { openEngine } from '../../diffusion/engine.ts'
import { openMatte } from '../../diffusion/matte/matte.ts'
import { checkFinite } from '../../diffusion/safetensors/check-finite.ts'
import { messageOf } from '../../jobs/errors.ts'
import type { Entry } from './list.ts'
import { extension } from './names.ts'
import { compareSums, readSums, type Sums, sumsBeside } from './sums.ts'

/**
 * Opens a model as for making pictures and builds every graph, which checks everything but the numbers.
 * @param vae the file of a VAE, for a model without its own
 * @throws CheckpointError
 */
export async function checkModel(path: string, vae?: string): Promise<void> {
  // sessions are made at the first picture: this reads headers only
  const engine = await openEngine({ model: path, vae, provider: 'cpu' })
  await engine.close()
}

/**
 * Loads a matting network and has it look at a grey picture.
 * @throws CheckpointError
 */
export async function checkMatte(path: string): Promise<void> {
  const [width, height] = [64, 64]
  const matte = await openMatte(path)
  try {
    await matte.alpha({ rgb: new Uint8Array(3 * width * height).fill(128), width, height })
  } finally {
    await matte.close()
  }
}

/** What is wrong with an entry now, and what could not be checked. @param vae for a model without its own */
export async function verifyEntry(
  entry: Entry,
  vae?: string,
): Promise<{ readonly faults: readonly string[]; readonly note: string }> {
  const faults: string[] = []
  const found = (thrown: unknown) => {
    faults.push(messageOf(thrown))
  }
  let sums: Sums | undefined
  try {
    sums = await readSums(sumsBeside(entry))
    if (sums !== undefined) faults.push(...(await compareSums(dirname(entry.path), sums)))
  } catch (thrown) {
    found(thrown)
  }
  if (entry.problem !== undefined) faults.push(entry.problem.detail)
  else if (entry.kind === 'matte') await checkMatte(entry.path).catch(found)
  else if (entry.kind === 'model') await checkModel(entry.path, vae).catch(found)
  const files = sums === undefined ? [] : [...sums.keys()].map((name) => join(dirname(entry.path), name))
  const weights = files.length === 0 ? [entry.path] : files
  for (const file of weights.filter((each) => each.endsWith(extension))) await checkFinite(file).catch(found)
  const note = sums === undefined ? ' (no hash was recorded, so it may have changed)' : ''
  return { faults, note }
}
