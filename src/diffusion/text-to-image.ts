import { join } from 'node:path'
import { type DiffusersFolder, openDiffusersFolder } from './checkpoint/diffusers-folder.ts'
import { readRows, type SafetensorsFile, type StoredTensor } from './checkpoint/safetensors.ts'
import { Weights } from './checkpoint/weights.ts'
import { AbortedError } from './errors.ts'
import { clipTextGraph, tokenEmbeddingKey } from './models/clip-text.ts'
import { timestepEmbedding, type UnetShape, unetGraph } from './models/unet.ts'
import { vaeDecoderGraph, vaeScale } from './models/vae.ts'
import { TorchGenerator } from './random/torch-normal.ts'
import { type Provider, Session, type SessionOptions } from './runtime/session.ts'
import { SessionCache } from './runtime/session-cache.ts'
import { dpmpp2m } from './samplers/dpmpp-2m.ts'
import { trainingSigmas } from './samplers/noise-levels.ts'
import type { SamplerName } from './samplers/sampler.ts'
import { type Schedule, spaceLevels } from './samplers/schedules.ts'
import { ClipTokenizer } from './tokenizer/clip-tokenizer.ts'

export interface TextToImageRequest {
  readonly prompt: string
  readonly negativePrompt: string
  /** In pixels, multiples of the VAE's scale. */
  readonly width: number
  readonly height: number
  readonly steps: number
  /** 1 or less: no guidance, half the work. */
  readonly guidanceScale: number
  readonly sampler: SamplerName
  readonly schedule: Schedule
  /** 0 to 2^32 - 1 */
  readonly seed: number
}

export interface RunOptions {
  /** Called after each step; `step` counts from 1. */
  readonly onStep?: (step: number, steps: number) => void
  /** Read before each step. */
  readonly signal?: { readonly aborted: boolean }
}

/** 8 bits a channel, rows from top to bottom, [height, width, 3]. */
export interface Picture {
  readonly rgb: Uint8Array
  readonly width: number
  readonly height: number
}

export interface LoadOptions {
  readonly modelDir: string
  readonly provider: Provider
  readonly threads?: number | undefined
  /** Weights that may be held at once, in bytes as float32; at least one session of each part is always kept. */
  readonly memoryBudget?: number
}

const defaultMemoryBudget = 6 * 2 ** 30

/**
 * Opens a model and checks every config and key, so that a damaged one is refused now and not at the first
 * picture. Sessions are made at the first picture of a size.
 * @throws CheckpointError naming file and fault
 */
export async function loadTextToImage(options: LoadOptions): Promise<TextToImage> {
  const model = await openDiffusersFolder(options.modelDir)
  const { architecture, text, unet, vae } = model
  const size = architecture.sampleSize
  const tokens = architecture.text.max_position_embeddings
  clipTextGraph(architecture.text, new Weights(text), 1)
  unetGraph(architecture.unet, new Weights(unet), { batch: 1, height: size, width: size, tokens })
  vaeDecoderGraph(architecture.vae, new Weights(vae), size, size)
  return new TextToImage(model, await ClipTokenizer.load(join(model.path, 'tokenizer')), options)
}

/** One model in memory. Serves one request at a time. */
export class TextToImage {
  readonly #model: DiffusersFolder
  readonly #tokenizer: ClipTokenizer
  readonly #sessions: SessionCache
  readonly #options: SessionOptions

  constructor(model: DiffusersFolder, tokenizer: ClipTokenizer, options: LoadOptions) {
    this.#model = model
    this.#tokenizer = tokenizer
    this.#options = options
    this.#sessions = new SessionCache(options.memoryBudget ?? defaultMemoryBudget)
  }

  /** The same request gives the same picture. @throws AbortedError before a step once the signal is aborted */
  async generate(request: TextToImageRequest, { onStep, signal }: RunOptions = {}): Promise<Picture> {
    const { unet, vae, noise } = this.#model.architecture
    const scale = vaeScale(vae)
    const [height, width] = [request.height / scale, request.width / scale]
    const guided = request.guidanceScale > 1
    const text = await this.encodeText(guided ? [request.negativePrompt, request.prompt] : [request.prompt])

    const training = trainingSigmas(noise)
    const generator = new TorchGenerator(request.seed)
    const size = unet.in_channels * height * width
    let latent = generator.randn(size)
    const sampler = dpmpp2m(spaceLevels(request.schedule, training, request.steps), {
      prediction: noise.prediction_type,
      finalSigma: 0,
      lowerOrderFinal: true,
      ...(request.sampler === 'dpmpp_2m_sde' && { noise: () => generator.randn(size) }),
    })
    for (const [index, timestep] of sampler.timesteps.entries()) {
      if (signal?.aborted) throw new AbortedError(`stopped before step ${index + 1}`)
      const prediction = await this.predict(latent, timestep, text, { height, width })
      latent = sampler.step(guided ? guide(prediction, request.guidanceScale) : prediction, index, latent)
      onStep?.(index + 1, request.steps)
    }
    return toPicture(await this.decode(latent, height, width), request.width, request.height)
  }

  /** Makes the sessions for guided pictures of a size, so that the first one does not wait for them. */
  async prepare(size: { readonly width: number; readonly height: number }): Promise<void> {
    const scale = vaeScale(this.#model.architecture.vae)
    const [height, width] = [size.height / scale, size.width / scale]
    await this.#textSession(2)
    await this.#unetSession({ batch: 2, height, width })
    await this.#vaeSession(height, width)
  }

  /** @returns the text encoder's states, [prompts, tokens, hidden] */
  async encodeText(prompts: readonly string[]): Promise<Float32Array> {
    const { text: config } = this.#model.architecture
    const file = this.#model.text
    const tokens = config.max_position_embeddings
    const table = file.tensors.get(tokenEmbeddingKey(new Weights(file))) as StoredTensor
    const ids = prompts.flatMap((prompt) => this.#tokenizer.encode(prompt, tokens).ids)
    const session = await this.#textSession(prompts.length)
    const data = await readRows(file, table, ids)
    return session.run({ embeddings: { data, dims: [prompts.length, tokens, config.hidden_size] } })
  }

  /**
   * One call of the UNet on the same latent for every row of text states.
   * @param latent [1, channels, height, width] @param text [batch, tokens, width of the text states]
   * @returns [batch, channels, height, width]
   */
  async predict(
    latent: Float32Array,
    timestep: number,
    text: Float32Array,
    { height, width }: { height: number; width: number },
  ): Promise<Float32Array> {
    const { unet, text: textConfig } = this.#model.architecture
    const tokens = textConfig.max_position_embeddings
    const batch = text.length / (tokens * unet.cross_attention_dim)
    const session = await this.#unetSession({ batch, height, width })
    const first = unet.block_out_channels[0] as number
    return session.run({
      sample: { data: repeat(latent, batch), dims: [batch, unet.in_channels, height, width] },
      time: { data: repeat(timestepEmbedding(timestep, first, unet), batch), dims: [batch, first] },
      text: { data: text, dims: [batch, tokens, unet.cross_attention_dim] },
    })
  }

  /** @param latent [1, channels, height, width] as sampled @returns [1, 3, height * scale, width * scale], -1 to 1 */
  async decode(latent: Float32Array, height: number, width: number): Promise<Float32Array> {
    const { vae } = this.#model.architecture
    const session = await this.#vaeSession(height, width)
    const data = latent.map((value) => value / vae.scaling_factor)
    return session.run({ latent: { data, dims: [1, vae.latent_channels, height, width] } })
  }

  async close(): Promise<void> {
    await this.#sessions.release()
  }

  #textSession(batch: number): Promise<Session> {
    const { text } = this.#model.architecture
    return this.#session(this.#model.text, `text ${batch}`, (weights) => clipTextGraph(text, weights, batch))
  }

  #unetSession({ batch, height, width }: Omit<UnetShape, 'tokens'>): Promise<Session> {
    const { unet, text } = this.#model.architecture
    return this.#session(this.#model.unet, `unet ${batch}x${height}x${width}`, (weights) =>
      unetGraph(unet, weights, { batch, height, width, tokens: text.max_position_embeddings }),
    )
  }

  #vaeSession(height: number, width: number): Promise<Session> {
    const { vae } = this.#model.architecture
    return this.#session(this.#model.vae, `vae ${height}x${width}`, (weights) =>
      vaeDecoderGraph(vae, weights, height, width),
    )
  }

  #session(file: SafetensorsFile, key: string, graph: (weights: Weights) => Uint8Array): Promise<Session> {
    return this.#sessions.get(
      key,
      () => float32Bytes(file),
      () => Session.create(graph(new Weights(file)), file.folder, this.#options),
    )
  }
}

/** What the weights of a file take in memory once they are widened. */
function float32Bytes({ tensors }: SafetensorsFile): number {
  let bytes = 0
  for (const { shape } of tensors.values()) bytes += shape.reduce((product, dim) => product * dim, 4)
  return bytes
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

function repeat(values: Float32Array, times: number): Float32Array {
  const out = new Float32Array(values.length * times)
  for (let i = 0; i < times; i++) out.set(values, i * values.length)
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
