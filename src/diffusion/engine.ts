import { join } from 'node:path'
import { type Model, openModel } from './checkpoint/model.ts'
import { AbortedError, CheckpointError } from './errors.ts'
import { FileCache } from './file-cache.ts'
import type { Attention, Precision } from './graph/graph.ts'
import { startRun } from './image-to-image.ts'
import { openLora } from './lora/lora.ts'
import { vaeScale } from './models/vae.ts'
import { type LatentSize, Parts } from './networks.ts'
import { encodePrompts, type TextStates } from './prompt/encode.ts'
import { openTextualInversion, type TextualInversion } from './prompt/textual-inversion.ts'
import { layOutPrompt, namesIn } from './prompt/windows.ts'
import { TorchGenerator } from './random/torch-normal.ts'
import type { Picture, PictureRequest, RunOptions } from './request.ts'
import type { SessionOptions } from './runtime/session.ts'
import { widened } from './safetensors/widen.ts'
import { beginIndex, createSampler } from './samplers/create-sampler.ts'
import type { ClipTokenizer } from './tokenizer/clip-tokenizer.ts'

export interface EngineOptions extends SessionOptions {
  /** A folder in diffusers layout, or a single file. */
  readonly model: string
  /** A file whose VAE replaces the model's own. */
  readonly vae?: string | undefined
  /** What to compute in; see `findDevice`. */
  readonly precision?: Precision
  readonly attention?: Attention
  /** Weights that may be held at once, in bytes; at least one session is always kept. */
  readonly memoryBudget?: number | undefined
  /** Where the `dense` profile keeps float32 copies of half-precision weights; without it, it makes none. */
  readonly cacheFolder?: string | undefined
}

const defaultMemoryBudget = 6 * 2 ** 30
const keptLoras = 8
const keptEmbeddings = 64

/**
 * Opens a model and checks every config and key, so that a damaged one is refused now and not at the first
 * picture. Sessions are made at the first picture of a size.
 * @throws CheckpointError naming file and fault
 */
export async function openEngine(options: EngineOptions): Promise<Engine> {
  const { model: path, vae, provider, profile, cacheFolder } = options
  const stored = await openModel(path, vae === undefined ? {} : { vae })
  const mapped = provider === 'cpu' && profile === 'dense' && cacheFolder !== undefined
  const model = mapped ? await widenedModel(stored, cacheFolder) : stored
  const parts = new Parts(model, {
    ...options,
    precision: options.precision ?? 'float32',
    attention: options.attention ?? 'fused',
    memoryBudget: options.memoryBudget ?? defaultMemoryBudget,
  })
  parts.check()
  return new Engine(model, await model.tokenizer(), parts)
}

async function widenedModel(model: Model, folder: string): Promise<Model> {
  const [text, unet, vae] = [
    await widened(model.text, join(folder, 'text')),
    await widened(model.unet, join(folder, 'unet')),
    await widened(model.vae, join(folder, 'vae')),
  ]
  return { ...model, text, unet, vae }
}

/** One model in memory. Serves one request at a time. */
export class Engine {
  readonly model: Model
  readonly tokenizer: ClipTokenizer
  readonly parts: Parts
  readonly #loras = new FileCache((path) => openLora(path, this.model), keptLoras)
  readonly #embeddings = new FileCache(openTextualInversion, keptEmbeddings)

  constructor(model: Model, tokenizer: ClipTokenizer, parts: Parts) {
    this.model = model
    this.tokenizer = tokenizer
    this.parts = parts
  }

  /** Of weights that are held, about. */
  get bytes(): number {
    return this.parts.bytes
  }

  /** Makes the sessions for guided pictures of a size in pixels, so that the first one does not wait for them. */
  async prepare({ width, height }: { readonly width: number; readonly height: number }): Promise<void> {
    const scale = vaeScale(this.model.architecture.vae)
    await this.parts.prepare({ height: height / scale, width: width / scale })
  }

  /**
   * @throws AbortedError before a call of the model once the signal is aborted; CheckpointError naming the model,
   * LoRA or embedding at fault; RangeError for a picture or strength that does not fit the request
   */
  async generate(request: PictureRequest, { onStep, signal }: RunOptions = {}): Promise<Picture> {
    const { vae, noise } = this.model.architecture
    const { width, height, steps, guidanceScale, image } = request
    const { parts } = this
    const scale = vaeScale(vae)
    const size: LatentSize = { height: height / scale, width: width / scale }
    const guided = guidanceScale > 1
    parts.useLoras(await this.#openLoras(request))
    const text = await this.#encodePrompts(request, guided)

    const generator = new TorchGenerator(request.seed)
    const randn = () => generator.randn(vae.latent_channels * size.height * size.width)
    const begin = image ? beginIndex(request.sampler, steps, image.strength) : 0
    const sampler = createSampler({ ...request, noise, begin }, randn)
    const { timesteps } = sampler
    const start = await startRun(image, {
      width,
      height,
      sampler,
      begin,
      generator,
      vae,
      inpainting: this.model.inpainting,
      encode: (planes, rows, columns) => parts.encode(planes, rows, columns),
    })
    let sample = start.sample
    for (let call = begin; call < timesteps.length; call++) {
      if (signal?.aborted) throw new AbortedError(`stopped before call ${call + 1} of ${timesteps.length}`)
      const input = withExtra(scaled(sample, sampler.scaleInput(call)), start.extraChannels)
      const prediction = await parts.predict(input, timesteps[call]!, text, size)
      const wanted = guided ? guide(prediction, guidanceScale) : prediction
      if (!wanted.every(Number.isFinite)) throw this.#notFinite(call)
      sample = start.keep(sampler.step(wanted, call, sample), call)
      onStep?.(Math.ceil((steps * (call + 1 - begin)) / (timesteps.length - begin)), steps)
    }
    return toPicture(await parts.decode(sample, size), width, height)
  }

  async close(): Promise<void> {
    await this.parts.close()
  }

  async #openLoras({ loras = [] }: PictureRequest) {
    return Promise.all(
      loras.map(async ({ file, strength }) => ({ lora: await this.#loras.get(file), strength })),
    )
  }

  async #encodePrompts(request: PictureRequest, guided: boolean): Promise<TextStates> {
    const { prompt, negativePrompt, clipSkip = 1 } = request
    const { hidden_size: width, max_position_embeddings: positions } = this.model.architecture.text
    const inversions = await this.#openEmbeddings(request)
    const prompts = guided ? [negativePrompt, prompt] : [prompt]
    return encodePrompts(
      prompts.map((text) => layOutPrompt(text, this.tokenizer, inversions, positions)),
      {
        width,
        lookUp: (ids) => this.parts.lookUp(ids),
        run: (embeddings) => this.parts.encodeText(embeddings, clipSkip),
      },
    )
  }

  /** Only those that a prompt names: a folder may hold hundreds, and a damaged one spoils no other's prompts. */
  async #openEmbeddings({ prompt, negativePrompt, embeddings = new Map() }: PictureRequest) {
    const named = [prompt, negativePrompt].flatMap((text) => [
      ...namesIn(text, this.tokenizer, embeddings.keys()),
    ])
    const opened = new Map<string, TextualInversion>()
    for (const name of new Set(named)) {
      opened.set(name, await this.#embeddings.get(embeddings.get(name) as string))
    }
    return opened
  }

  #notFinite(call: number): CheckpointError {
    return new CheckpointError(
      `${this.model.path}: the model gave no finite numbers at call ${call + 1}: its weights, or those of a LoRA, ` +
        'are damaged or too large for what it computes in',
    )
  }
}

/** Classifier-free guidance, https://arxiv.org/abs/2207.12598: the first half is without the prompt. */
function guide(prediction: Float32Array, scale: number): Float32Array {
  const half = prediction.length / 2
  const out = new Float32Array(half)
  for (let i = 0; i < half; i++) {
    const without = prediction[i]!
    out[i] = without + scale * (prediction[half + i]! - without)
  }
  return out
}

function scaled(sample: Float32Array, factor: number): Float32Array {
  return factor === 1 ? sample : sample.map((value) => value * factor)
}

function withExtra(sample: Float32Array, extra: Float32Array): Float32Array {
  if (extra.length === 0) return sample
  const out = new Float32Array(sample.length + extra.length)
  out.set(sample)
  out.set(extra, sample.length)
  return out
}

/** From planes of -1 to 1 to interleaved bytes. */
function toPicture(planes: Float32Array, width: number, height: number): Picture {
  const pixels = width * height
  const rgb = new Uint8Array(pixels * 3)
  for (let channel = 0; channel < 3; channel++) {
    for (let i = 0; i < pixels; i++) {
      const value = planes[channel * pixels + i]! / 2 + 0.5
      rgb[i * 3 + channel] = Math.round(Math.min(Math.max(value, 0), 1) * 255)
    }
  }
  return { rgb, width, height }
}
