import { assertUnchanged, type Model } from './checkpoint/model.ts'
import { Weights, type WeightsOptions } from './checkpoint/weights.ts'
import type { Attention, Precision } from './graph/graph.ts'
import { type LoraPlan, type LoraUse, planLoras } from './lora/plan.ts'
import { clipTextGraph, tokenEmbeddingKey } from './models/clip-text.ts'
import { timestepEmbedding, unetGraph } from './models/unet.ts'
import { hasEncoder, vaeDecoderGraph, vaeEncoderGraph, vaeScale } from './models/vae.ts'
import type { TextStates } from './prompt/encode.ts'
import { Session, type SessionOptions } from './runtime/session.ts'
import { SessionCache } from './runtime/session-cache.ts'
import { readRows, type SafetensorsFile, type StoredTensor } from './safetensors/safetensors.ts'

export interface PartsOptions extends SessionOptions {
  readonly precision: Precision
  readonly attention: Attention
  /** Weights that may be held at once, in bytes; at least one session is always kept. */
  readonly memoryBudget: number
}

/** Height and width in latent pixels. */
export interface LatentSize {
  readonly height: number
  readonly width: number
}

/**
 * The networks of one model, as functions. A graph has fixed shapes, so a session is made when a shape is first asked
 * for; LoRAs of the same structure share one, whatever their strengths.
 */
export class Parts {
  readonly #model: Model
  readonly #options: PartsOptions
  readonly #sessions: SessionCache
  #loras: readonly LoraUse[] = []
  #plans: { text: LoraPlan; unet: LoraPlan } = { text: noLoras, unet: noLoras }

  constructor(model: Model, options: PartsOptions) {
    this.#model = model
    this.#options = options
    this.#sessions = new SessionCache(options.memoryBudget)
  }

  /** Every key and shape is checked, also of what is made later. @throws CheckpointError */
  check(): void {
    const { architecture, text, unet, vae } = this.#model
    const size = architecture.sampleSize
    const tokens = architecture.text.max_position_embeddings
    clipTextGraph(architecture.text, new Weights(text), 1)
    unetGraph(architecture.unet, new Weights(unet), { batch: 1, height: size, width: size, tokens })
    vaeDecoderGraph(architecture.vae, new Weights(vae), size, size)
    if (this.hasEncoder) {
      const scale = vaeScale(architecture.vae)
      vaeEncoderGraph(architecture.vae, new Weights(vae), size * scale, size * scale)
    }
  }

  /** Whether pictures can be made into latents: some VAEs come without that half. */
  get hasEncoder(): boolean {
    return hasEncoder(new Weights(this.#model.vae))
  }

  /** What the sessions hold, in bytes of weights. */
  get bytes(): number {
    return this.#sessions.bytes
  }

  /** For all calls from now on. @throws CheckpointError if one of them does not fit the model */
  useLoras(loras: readonly LoraUse[]): void {
    const same =
      loras.length === this.#loras.length &&
      loras.every(
        ({ lora, strength }, i) => lora === this.#loras[i]?.lora && strength === this.#loras[i].strength,
      )
    if (same) return
    this.#plans = { text: planLoras(loras, 'text'), unet: planLoras(loras, 'unet') }
    this.#loras = loras
  }

  /** Makes the sessions for guided pictures of a size, so that the first one does not wait for them. */
  async prepare(size: LatentSize): Promise<void> {
    const tokens = this.#model.architecture.text.max_position_embeddings
    await this.#textSession(1)
    await this.#unetSession({ ...size, batch: 2, tokens, masked: false })
    await this.#decoderSession(size)
  }

  /** Rows of the token embedding table. @returns [ids.length, width] */
  lookUp(ids: readonly number[]): Promise<Float32Array> {
    const { text } = this.#model
    return readRows(text, text.tensors.get(tokenEmbeddingKey(new Weights(text))) as StoredTensor, ids)
  }

  /** @param embeddings [1, tokens, width] @returns states [1, tokens, width] */
  async encodeText(embeddings: Float32Array, clipSkip: number): Promise<Float32Array> {
    const { hidden_size: width, max_position_embeddings: tokens } = this.#model.architecture.text
    const session = await this.#textSession(clipSkip)
    return session.run({
      embeddings: { data: embeddings, dims: [1, tokens, width] },
      ...this.#plans.text.feeds,
    })
  }

  /**
   * One call of the UNet on the same sample for every row of text states.
   * @param sample [1, in_channels, height, width] @returns [rows, out_channels, height, width]
   */
  async predict(
    sample: Float32Array,
    timestep: number,
    text: TextStates,
    { height, width }: LatentSize,
  ): Promise<Float32Array> {
    const { unet } = this.#model.architecture
    const { states, tokens, mask } = text
    const batch = states.length / (tokens * unet.cross_attention_dim)
    const session = await this.#unetSession({ batch, height, width, tokens, masked: mask !== undefined })
    const first = unet.block_out_channels[0] as number
    return session.run({
      sample: { data: repeat(sample, batch), dims: [batch, unet.in_channels, height, width] },
      time: { data: repeat(timestepEmbedding(timestep, first, unet), batch), dims: [batch, first] },
      text: { data: states, dims: [batch, tokens, unet.cross_attention_dim] },
      ...(mask && { mask: { data: mask, dims: [batch, tokens] } }),
      ...this.#plans.unet.feeds,
    })
  }

  /** @param latent [1, channels, height, width] as sampled @returns [1, 3, height * scale, width * scale], -1 to 1 */
  async decode(latent: Float32Array, size: LatentSize): Promise<Float32Array> {
    const { vae } = this.#model.architecture
    const session = await this.#decoderSession(size)
    const data = latent.map((value) => value / vae.scaling_factor)
    return session.run({ latent: { data, dims: [1, vae.latent_channels, size.height, size.width] } })
  }

  /**
   * @param picture [1, 3, height, width] in pixels, -1 to 1
   * @returns moments [1, 2 * channels, height / scale, width / scale]
   * @throws CheckpointError if the VAE has no encoder
   */
  async encode(picture: Float32Array, height: number, width: number): Promise<Float32Array> {
    const { vae } = this.#model.architecture
    const session = await this.#session(this.#model.vae, `encoder ${height}x${width}`, {}, (weights) =>
      vaeEncoderGraph(vae, weights, height, width),
    )
    return session.run({ picture: { data: picture, dims: [1, vae.out_channels, height, width] } })
  }

  async close(): Promise<void> {
    await this.#sessions.release()
  }

  #textSession(skip: number): Promise<Session> {
    const { text } = this.#model.architecture
    const { signature, ranks: loraRanks } = this.#plans.text
    return this.#session(this.#model.text, `text skip ${skip} ${signature}`, { loraRanks }, (weights) =>
      clipTextGraph(text, weights, 1, { skip }),
    )
  }

  #unetSession(shape: LatentSize & { batch: number; tokens: number; masked: boolean }): Promise<Session> {
    const { unet } = this.#model.architecture
    const { signature, ranks: loraRanks } = this.#plans.unet
    return this.#session(
      this.#model.unet,
      `unet ${JSON.stringify(shape)} ${signature}`,
      { loraRanks },
      (weights) => unetGraph(unet, weights, shape),
    )
  }

  #decoderSession({ height, width }: LatentSize): Promise<Session> {
    const { vae } = this.#model.architecture
    return this.#session(this.#model.vae, `decoder ${height}x${width}`, {}, (weights) =>
      vaeDecoderGraph(vae, weights, height, width),
    )
  }

  #session(
    file: SafetensorsFile,
    key: string,
    weightsOptions: WeightsOptions,
    graph: (weights: Weights) => Uint8Array,
  ): Promise<Session> {
    const { precision, attention } = this.#options
    return this.#sessions.get(
      key,
      () => heldBytes(file, precision),
      async () => {
        await assertUnchanged(file)
        const weights = new Weights(file, { ...weightsOptions, precision, attention })
        return Session.create(graph(weights), file.folder, this.#options)
      },
    )
  }
}

const noLoras: LoraPlan = { ranks: new Map(), signature: '', feeds: {} }

/** What the weights of a part take in memory in the precision that they are computed in. */
function heldBytes({ tensors }: SafetensorsFile, precision: Precision): number {
  const perNumber = precision === 'float16' ? 2 : 4
  let bytes = 0
  for (const { shape } of tensors.values()) bytes += shape.reduce((product, dim) => product * dim, perNumber)
  return bytes
}

function repeat(values: Float32Array, times: number): Float32Array {
  const out = new Float32Array(values.length * times)
  for (let i = 0; i < times; i++) out.set(values, i * values.length)
  return out
}
