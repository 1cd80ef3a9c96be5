import { realpath } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { vaeScale } from '../models/vae.ts'
import { samplers } from '../samplers/sampler.ts'
import { schedules } from '../samplers/schedules.ts'
import { ConfigFile } from './config-file.ts'
import { readArchitecture } from './diffusers-folder.ts'

/** What a caller may ask of a model, and what it gets when it does not say. Sizes in pixels. */
export interface ModelDescription {
  readonly name: string
  readonly width: number
  readonly height: number
  readonly steps: number
  readonly guidanceScale: number
  /** Width and height must be multiples of this. */
  readonly sizeMultiple: number
  readonly samplers: readonly string[]
  readonly schedules: readonly string[]
}

/**
 * Reads the configs of a model folder, and `packshot.json` beside them for the defaults that suit the model.
 * @throws CheckpointError naming the file and the field at fault
 */
export async function describeModel(folder: string): Promise<ModelDescription> {
  const architecture = await readArchitecture(folder)
  const defaults = await ConfigFile.readIfPresent(join(folder, 'packshot.json'))
  const scale = vaeScale(architecture.vae)
  const size = architecture.sampleSize * scale
  return {
    name: basename(await realpath(folder)),
    width: defaults.integer('width', size),
    height: defaults.integer('height', size),
    steps: defaults.integer('steps', 20),
    guidanceScale: defaults.number('guidance_scale', 7.5),
    sizeMultiple: scale,
    samplers,
    schedules,
  }
}
