import { dirname, join } from 'node:path'
import { aboutModel } from '../diffusion/checkpoint/describe.ts'
import { CheckpointError } from '../diffusion/errors.ts'
import { listed } from '../jobs/wording.ts'
import type { Inspect } from '../library/folder/inspect.ts'
import type { Entry } from '../library/folder/list.ts'
import { extension } from '../library/folder/names.ts'
import { compareSums, readSums, type Sums } from '../library/folder/sums.ts'
import { readableBytes } from '../library/progress.ts'

/** The line of `models list`. */
export function entryLine({ kind, name, bytes, family, dtype, problem }: Entry): string {
  const what = [family, dtype, readableBytes(bytes)].filter((part) => part !== undefined).join(', ')
  return `${kind.padEnd(10)} ${name}  ${what}${problem === undefined ? '' : `\n           CANNOT BE USED: ${problem}`}`
}

/** The lines of `models show`. */
export async function entryDetails(entry: Entry): Promise<string> {
  const { kind, name, path, bytes, family, dtype, parameters } = entry
  const { description, subjects, problem } = await aboutEntry(entry)
  const sums = await readSums(sumsAt(entry))
  const rows: [string, string | undefined][] = [
    ['kind', kind],
    ['path', path],
    ['size', `${bytes} bytes (${readableBytes(bytes)})`],
    ['family', family],
    ['dtype', dtype],
    ['about', description],
    ['draws', subjects && listed(subjects)],
    ['parameters', parameters === undefined ? undefined : `${(parameters / 1e6).toFixed(2)} million`],
    ['SHA-256', sums?.size === 1 ? [...sums.values()][0] : sums && `${sums.size} files in ${sumsAt(entry)}`],
    ['problem', problem],
  ]
  const lines = rows.flatMap(([label, value]) =>
    value === undefined ? [] : [`  ${label.padEnd(10)} ${value}`],
  )
  return [name, ...lines].join('\n')
}

/** What a model says of itself, and what is wrong with it or with that. */
async function aboutEntry({ kind, path, problem }: Entry): Promise<{
  readonly description?: string
  readonly subjects?: readonly string[]
  readonly problem?: string | undefined
}> {
  if (kind !== 'model') return { problem }
  try {
    return { ...(await aboutModel(path)), problem }
  } catch (thrown) {
    if (!(thrown instanceof CheckpointError)) throw thrown
    return { problem: problem ?? thrown.message }
  }
}

/** What is wrong with an entry now, and what could not be looked at. */
export async function verifyEntry(
  entry: Entry,
  inspect: Inspect,
): Promise<{ readonly faults: readonly string[]; readonly note: string }> {
  const faults: string[] = []
  const found = (thrown: unknown) => {
    faults.push(thrown instanceof Error ? thrown.message : String(thrown))
  }
  let sums: Sums | undefined
  try {
    sums = await readSums(sumsAt(entry))
    if (sums !== undefined) faults.push(...(await compareSums(dirname(entry.path), sums)))
  } catch (thrown) {
    found(thrown)
  }
  if (entry.problem !== undefined) faults.push(entry.problem)
  else if (entry.kind === 'model') await inspect.checkModel(entry.path).catch(found)
  const files = sums === undefined ? [] : [...sums.keys()].map((name) => join(dirname(entry.path), name))
  const weights = files.length === 0 ? [entry.path] : files
  for (const file of weights.filter((each) => each.endsWith(extension)))
    await inspect.checkFinite(file).catch(found)
  const note = sums === undefined ? ' (no hash was kept, so it may have changed)' : ''
  return { faults, note }
}

function sumsAt({ path, name }: Entry): string {
  return join(dirname(path), `${name}.sha256`)
}
