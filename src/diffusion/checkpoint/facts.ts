import { parse } from 'node:path'
import { CheckpointError } from '../errors.ts'
import { type ModelWidths, widthsOf } from '../lora/facts.ts'
import { type FewStepPaces, fewStepsOf } from '../lora/few-steps.ts'
import { hasEncoder, vaeScale } from '../models/vae.ts'
import { type Dtype, isFloat, type SafetensorsFile, type StoredTensor } from '../safetensors/safetensors.ts'
import { type About, readAbout } from './about.ts'
import { type AddOnSizes, addOnSizes, type VaeSizes } from './add-on-sizes.ts'
import type { Classified } from './kinds.ts'
import { isOnnx, matteFacts } from './matte-file.ts'
import { type Checkpoint, modelOf, readCheckpoint } from './model.ts'
import { hasVae, strangeKeys } from './single-file.ts'
import type { Vae } from './vae-file.ts'
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
  /** What decides which models an add-on fits, or why none can use it; undefined for a model. */
  readonly addOn: AddOnSizes | CheckpointError | undefined
  /** Of a LoRA that was distilled to need few steps: the settings it was made for. */
  readonly fewSteps?: FewStepPaces
  /** For the operator: what was passed over, in whole sentences. */
  readonly remarks: readonly string[]
}

/** What a caller may request from a model, and the defaults. Sizes in pixels. */
export interface ModelDescription {
  readonly family: 'sd1'
  /** It takes a mask and repaints the area that the mask covers. */
  readonly inpainting: boolean
  /** It has no VAE of its own: one must be given. */
  readonly needsVae: boolean
  readonly sizes: VaeSizes & ModelWidths
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
  if (await isOnnx(path)) return matteFacts(path)
  const checkpoint = await readCheckpoint(path)
  const { classified, beside } = checkpoint
  const ignored = classified.lora?.passedOver ?? 0
  const remarks = classified.kind === 'model' ? [...beside.remarks] : []
  if (ignored > 0)
    remarks.push(`${path}: ${ignored} of its tensors, on which no picture depends, are passed over`)
  const fewSteps =
    classified.kind === 'lora' && 'file' in checkpoint
      ? fewStepsOf({ ...checkpoint.file, name: parse(path).name, own: beside.own.fields }, (text) =>
          remarks.push(`${path}: ${text}`),
        )
      : undefined
  const model = orFault(() => describe(checkpoint, remarks))
  const addOn = orFault(() => addOnSizes(checkpoint))
  return {
    ...classified,
    ...count(tensorsOf(checkpoint)),
    model,
    addOn,
    ...(fewSteps && { fewSteps }),
    remarks,
  }
}

/** The value, or the error about the file. */
function orFault<T>(read: () => T): T | CheckpointError {
  try {
    return read()
  } catch (thrown) {
    if (thrown instanceof CheckpointError) return thrown
    throw thrown
  }
}

/** The description as a model only. @throws CheckpointError naming the file, and why it cannot be used as a model */
export async function describeModel(path: string): Promise<ModelDescription> {
  return describe(await readCheckpoint(path), [])
}

/** What a request may ask for (`defaultLimits` of jobs/fields.ts): one that leaves a field out gets the model's default. */
export const defaultsWithin = {
  side: { least: 64, most: 1024 },
  steps: { least: 1, most: 100 },
  guidanceScale: { least: 0, most: 30 },
} as const

/** @param remarks gets a sentence for each default that was passed over */
function describe(checkpoint: Checkpoint, remarks: string[]): ModelDescription {
  const needsVae = 'file' in checkpoint && !hasVae(checkpoint.file)
  const model = modelOf(checkpoint, needsVae ? standInVae(checkpoint.file) : undefined)
  const { family, inpainting, architecture, vae } = model
  const strange = 'file' in checkpoint ? strangeKeys(checkpoint.file) : []
  if (strange[0] !== undefined) {
    const such = `${strange.length} tensors outside the model, such as ${JSON.stringify(strange[0])}`
    remarks.push(`${model.path}: ${such}, are passed over`)
  }
  const scale = vaeScale(architecture.vae)
  const sides = { ...defaultsWithin.side, step: scale }
  const size = Math.min(Math.max(architecture.sampleSize * scale, sides.least), sides.most)
  const { own, shared } = checkpoint.beside
  // another program may mean something else by the same word
  const or = <T>(read: () => T, fallback: T): T => {
    const value = shared ? orFault(read) : read()
    if (!(value instanceof CheckpointError)) return value
    remarks.push(`${value.message}; it is passed over`)
    return fallback
  }
  return {
    family,
    inpainting,
    needsVae,
    sizes: { channels: architecture.vae.latent_channels, scale, ...widthsOf(architecture) },
    imageToImage: needsVae || hasEncoder(new Weights(vae)),
    clipLayers: architecture.text.num_hidden_layers,
    width: or(() => own.integerWithin('width', size, sides), size),
    height: or(() => own.integerWithin('height', size, sides), size),
    steps: or(() => own.integerWithin('steps', 20, defaultsWithin.steps), 20),
    guidanceScale: or(() => own.numberWithin('guidance_scale', 7.5, defaultsWithin.guidanceScale), 7.5),
    sizeMultiple: scale,
    about: readAbout(own, or),
  }
}

/** In place of the VAE that a model lacks, Stable Diffusion 1.x's, so that the rest of the model can be checked. */
function standInVae(file: SafetensorsFile): Vae {
  const config = {
    latent_channels: 4,
    out_channels: 3,
    block_out_channels: [128, 256, 512, 512],
    layers_per_block: 2,
    norm_num_groups: 32,
    scaling_factor: 0.18215,
  }
  return { config, file: { ...file, tensors: new Map() } }
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
