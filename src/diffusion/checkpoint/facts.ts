import { dirname, join } from 'node:path'
import { ConfigFile } from '../config-file.ts'
import { CheckpointError } from '../errors.ts'
import { hasEncoder, vaeScale } from '../models/vae.ts'
import { type Dtype, isFloat, type StoredTensor } from '../safetensors/safetensors.ts'
import { type About, readAbout } from './about.ts'
import type { Classified } from './kinds.ts'
import { type Checkpoint, modelOf, readCheckpoint } from './model.ts'
import { Weights } from './weights.ts'

/** Everything known about a file or model folder from headers and configs. Holds no tensors, so it is cheap to keep. */
export interface CheckpointFacts extends Classified {
  /** The dtype of most parameters. */
  readonly dtype: Dtype
  readonly tensors: number
  /** Number of parameters. */
  readonly parameters: number
  /** Its description as a model, or why it cannot be used as one. */
  readonly model: ModelDescription | CheckpointError
}

/** What a caller may request from a model, and the defaults. Sizes in pixels. */
export interface ModelDescription {
  readonly family: 'sd1'
  /** It takes a mask and repaints the area that the mask covers. */
  readonly inpainting: boolean
  /** It can start from a picture: its VAE has an encoder. */
  readonly imageToImage: boolean
  /** Layers of the text encoder: the maximum of clip skip. */
  readonly clipLayers: number
  readonly width: number
  readonly height: number
  readonly steps: number
  readonly guidanceScale: number
  /** Width and height must be multiples of this. */
  readonly sizeMultiple: number
  readonly about: About
}

/**
 * Reads each header and config once, and the model's own file: `packshot.json` in its folder, or `NAME.json` beside
 * `NAME.safetensors`.
 * @throws CheckpointError if it is damaged or of an unsupported format
 */
export async function readFacts(path: string): Promise<CheckpointFacts> {
  const checkpoint = await readCheckpoint(path)
  const model = await describe(checkpoint).catch((thrown: unknown) => {
    if (thrown instanceof CheckpointError) return thrown
    throw thrown
  })
  return { ...checkpoint.classified, ...count(tensorsOf(checkpoint)), model }
}

/** The description as a model only. @throws CheckpointError naming the file, and why it cannot be used as a model */
export async function describeModel(path: string): Promise<ModelDescription> {
  return describe(await readCheckpoint(path))
}

async function describe(checkpoint: Checkpoint): Promise<ModelDescription> {
  const { path, name, family, inpainting, architecture, vae } = modelOf(checkpoint)
  const beside = 'folder' in checkpoint ? join(path, 'packshot.json') : join(dirname(path), `${name}.json`)
  const defaults = await ConfigFile.readIfPresent(beside)
  const scale = vaeScale(architecture.vae)
  const size = architecture.sampleSize * scale
  return {
    family,
    inpainting,
    imageToImage: hasEncoder(new Weights(vae)),
    clipLayers: architecture.text.num_hidden_layers,
    width: defaults.integer('width', size),
    height: defaults.integer('height', size),
    steps: defaults.integer('steps', 20),
    guidanceScale: defaults.number('guidance_scale', 7.5),
    sizeMultiple: scale,
    about: readAbout(defaults),
  }
}

function tensorsOf(checkpoint: Checkpoint): StoredTensor[] {
  const parts =
    'file' in checkpoint
      ? [checkpoint.file]
      : [checkpoint.folder.text, checkpoint.folder.unet, checkpoint.folder.vae]
  return parts.flatMap(({ tensors }) => [...tensors.values()])
}

function count(tensors: readonly StoredTensor[]): Pick<CheckpointFacts, 'dtype' | 'tensors' | 'parameters'> {
  const numbers = new Map<Dtype, number>()
  for (const { dtype, shape } of tensors) {
    numbers.set(dtype, (numbers.get(dtype) ?? 0) + shape.reduce((product, dim) => product * dim, 1))
  }
  const [most] = [...numbers].sort(([a, x], [b, y]) => Number(isFloat(b)) - Number(isFloat(a)) || y - x)
  const parameters = [...numbers.values()].reduce((sum, value) => sum + value, 0)
  return { dtype: most?.[0] ?? 'F32', tensors: tensors.length, parameters }
}
