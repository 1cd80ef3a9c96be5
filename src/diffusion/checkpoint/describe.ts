import { dirname, join } from 'node:path'
import { ConfigFile } from '../config-file.ts'
import { vaeScale } from '../models/vae.ts'
import { samplers, schedules } from '../samplers/catalog.ts'
import { type About, readAbout } from './about.ts'
import { type Architecture, isInpainting } from './architecture.ts'
import { readArchitecture } from './diffusers-folder.ts'
import { isFolder, modelName, openModel } from './model.ts'

/** What a caller may ask of a model, and what it gets when it does not say. Sizes in pixels. */
export interface ModelDescription {
  readonly name: string
  readonly family: 'sd1'
  /** It takes a mask and repaints what the mask covers. */
  readonly inpainting: boolean
  readonly width: number
  readonly height: number
  readonly steps: number
  readonly guidanceScale: number
  /** Width and height must be multiples of this. */
  readonly sizeMultiple: number
  readonly samplers: readonly string[]
  readonly schedules: readonly string[]
  readonly about: About
}

/**
 * Reads a model's configs, or a single file's header, and what its own file says of it: the defaults that suit it, and
 * words for people. That file is `packshot.json` in its folder, or `NAME.json` beside `NAME.safetensors`.
 * @param vae a file whose VAE replaces the model's own
 * @throws CheckpointError naming the file and the field at fault
 */
export async function describeModel(path: string, vae?: string): Promise<ModelDescription> {
  const folder = await isFolder(path)
  const architecture = folder
    ? await readArchitecture(path)
    : (await openModel(path, vae === undefined ? {} : { vae })).architecture
  return { name: modelName(path), ...described(architecture, await ownFile(path)) }
}

/** What a model says of itself to people. @throws CheckpointError naming the file and the field at fault */
export async function aboutModel(path: string): Promise<About> {
  return readAbout(await ownFile(path))
}

async function ownFile(path: string): Promise<ConfigFile> {
  const folder = await isFolder(path)
  return ConfigFile.readIfPresent(
    folder ? join(path, 'packshot.json') : join(dirname(path), `${modelName(path)}.json`),
  )
}

function described(architecture: Architecture, defaults: ConfigFile): Omit<ModelDescription, 'name'> {
  const scale = vaeScale(architecture.vae)
  const size = architecture.sampleSize * scale
  return {
    family: 'sd1',
    inpainting: isInpainting(architecture),
    width: defaults.integer('width', size),
    height: defaults.integer('height', size),
    steps: defaults.integer('steps', 20),
    guidanceScale: defaults.number('guidance_scale', 7.5),
    sizeMultiple: scale,
    samplers,
    schedules,
    about: readAbout(defaults),
  }
}
