import { existsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { writeRandomCheckpoint } from '../scripts/random-checkpoint.ts'

/** The folder of a checkpoint of Stable Diffusion 1.5's size with random weights, written at the first call: about 2 GB. */
export async function fullSizeCheckpoint(): Promise<string> {
  const folder = join(tmpdir(), 'packshot-random-sd15-complete')
  if (!existsSync(join(folder, 'model_index.json'))) {
    console.error(`writing a full-size random checkpoint to ${folder} ...`)
    await writeRandomCheckpoint(folder, join(import.meta.dirname, '../test/golden/tiny-sd/tokenizer'))
  }
  return folder
}
