import { assertUnchanged, type Model } from './checkpoint/model.ts'
import type { TinyVae } from './checkpoint/tiny-vae-file.ts'
import { Weights } from './checkpoint/weights.ts'
import type { Attention, GraphOptions, Precision, WeightSource } from './graph/graph.ts'
import { eightBitWeights } from './int8/weights.ts'
import { type LoraPlan, noLoras } from './lora/plan.ts'
import { clipTextGraph } from './models/clip-text.ts'
import { tinyDecoderGraph } from './models/taesd.ts'
import { type UnetShape, unetGraph } from './models/unet.ts'
import { hasEncoder, vaeDecoderGraph, vaeEncoderGraph, vaeScale } from './models/vae.ts'
import { Session, type SessionOptions } from './runtime/session.ts'
import type { SessionCache } from './runtime/session-cache.ts'
import type { SafetensorsFile } from './safetensors/safetensors.ts'

export interface ModelSessionsOptions extends SessionOptions {
  readonly precision: Precision
  readonly attention: Attention
  /** Holds the sessions; models that share one share its budget. */
  readonly sessions: SessionCache<Session>
  /** UNet and VAE decoder in eight bits, in place of the model's own: see `int8/`. */
  readonly eightBits?: Readonly<Record<'unet' | 'vae', SafetensorsFile>> | undefined
  /** Receives what an operator should know of, in a sentence. */
  readonly onWarning?: ((message: string) => void) | undefined
}

/**
 * What ONNX Runtime's arena takes for one byte of activations: it extends itself by powers of two. Measured with 1.30 on
 * UNets and decoders from 256 to 1024 pixels: 1.2 to 2.1.
 */
export const arenaFactor = 2.25

/** What the cache needs to make a session. */
type Planned = [key: string, plan: Parameters<SessionCache<Session>['get']>[2]]

/** Height and width in latent pixels. */
export interface LatentSize {
  readonly height: number
  readonly width: number
}

/**
 * The sessions of one model, each made when it is first asked for: a graph has fixed shapes. LoRAs of the same structure
 * share one, whatever their strengths. A session may be released by the next that is asked for, so one caller at a time.
 */
export class ModelSessions {
  readonly model: Model
  readonly #options: ModelSessionsOptions
  #vaePrecision: Precision

  constructor(model: Model, options: ModelSessionsOptions) {
    this.model = model
    this.#options = options
    this.#vaePrecision = options.precision
  }

  /** What they hold, in bytes: weights and activations. */
  get bytes(): number {
    return this.#options.sessions.bytes(this)
  }

  /** Makes those for guided pictures of a size, so that the first one does not wait for them. */
  async prepare(size: LatentSize): Promise<void> {
    const tokens = this.model.architecture.text.max_position_embeddings
    await this.text(1, noLoras)
    await this.unet({ ...size, batch: 2, tokens, masked: false }, noLoras)
    await this.decoder(size)
  }

  /** @param skip see `clipTextGraph` */
  text(skip: number, plan: LoraPlan): Promise<Session> {
    const { text, architecture } = this.model
    const lora = { loraRanks: plan.ranks, replaced: plan.replaced }
    return this.#session(
      text,
      `text skip ${skip} ${plan.signature}`,
      this.#options.precision,
      (weights, options) => clipTextGraph(architecture.text, weights, 1, { ...options, ...lora, skip }),
      plan,
    )
  }

  unet(shape: UnetShape, plan: LoraPlan): Promise<Session> {
    const { unet, architecture } = this.model
    const lora = { loraRanks: plan.ranks, replaced: plan.replaced }
    return this.#session(
      this.#options.eightBits?.unet ?? unet,
      `unet ${JSON.stringify(shape)} ${plan.signature}`,
      this.#options.precision,
      (weights, options) => unetGraph(architecture.unet, weights, shape, { ...options, ...lora }),
      plan,
    )
  }

  decoder({ height, width }: LatentSize): Promise<Session> {
    const { vae, architecture } = this.model
    const file = this.#options.eightBits?.vae ?? vae
    return this.#session(file, `decoder ${height}x${width}`, this.#vaePrecision, (weights, options) =>
      vaeDecoderGraph(architecture.vae, weights, height, width, options),
    )
  }

  /** Of another file, in place of the VAE's. */
  tinyDecoder({ file, sizes }: TinyVae, size: LatentSize): Promise<Session> {
    return this.#options.sessions.get(this, ...this.#tiny({ file, sizes }, size))
  }

  /** For something that is not worth releasing another session: undefined if there is no room for it. */
  tinyDecoderBeside({ file, sizes }: TinyVae, size: LatentSize): Promise<Session | undefined> {
    return this.#options.sessions.getBeside(this, ...this.#tiny({ file, sizes }, size))
  }

  #tiny({ file, sizes }: TinyVae, { height, width }: LatentSize): Planned {
    return this.#planned(
      file,
      `tiny decoder ${file.path} ${file.stamp} ${height}x${width}`,
      this.#options.precision,
      (weights, options) => tinyDecoderGraph(sizes.channels, weights, height, width, options),
    )
  }

  /** For a picture of a size in pixels. @throws CheckpointError if the VAE has no encoder */
  encoder(height: number, width: number): Promise<Session> {
    const { vae, architecture } = this.model
    return this.#session(vae, `encoder ${height}x${width}`, this.#vaePrecision, (weights, options) =>
      vaeEncoderGraph(architecture.vae, weights, height, width, options),
    )
  }

  /**
   * From now on the VAE computes in float32: some overflow in half precision. AUTOMATIC1111 does the same
   * (`auto_vae_precision`). @returns false if it did so already
   */
  widenVae(): boolean {
    if (this.#vaePrecision === 'float32') return false
    this.#vaePrecision = 'float32'
    this.#options.onWarning?.('The VAE overflows in half precision; it computes in float32 from now on.')
    return true
  }

  /** For numbers that are held beside the sessions. @throws MemoryError if the whole budget is too small */
  makeRoom(bytes: number): Promise<void> {
    return this.#options.sessions.makeRoom(bytes)
  }

  async close(): Promise<void> {
    await this.#options.sessions.release(this)
  }

  #session(
    file: SafetensorsFile,
    key: string,
    precision: Precision,
    write: (weights: WeightSource, options: GraphOptions) => Uint8Array,
    plan: LoraPlan = noLoras,
  ): Promise<Session> {
    return this.#options.sessions.get(this, ...this.#planned(file, key, precision, write, plan))
  }

  #planned(
    file: SafetensorsFile,
    key: string,
    precision: Precision,
    write: (weights: WeightSource, options: GraphOptions) => Uint8Array,
    plan: LoraPlan = noLoras,
  ): Planned {
    const { attention, eightBits } = this.#options
    const inEightBits = file === eightBits?.unet || file === eightBits?.vae
    const make: Planned[1] = () => {
      let activations = 0
      let constants = 0
      const onMemory: GraphOptions['onMemory'] = (memory) => ({ activations, constants } = memory)
      const source = inEightBits ? eightBitWeights(file) : new Weights(file)
      const graph = write(source, { precision, attention, onMemory })
      const weights = weightBytes(file, precision, plan.replaced) + plan.bytes
      return {
        bytes: weights + constants + Math.ceil(arenaFactor * activations),
        create: async () => {
          await assertUnchanged(file)
          return Session.create(graph, file.folder, this.#options)
        },
      }
    }
    return [`${key} ${precision}`, make]
  }
}

/** Every key and shape is checked, also of what no picture has needed yet. @throws CheckpointError */
export function checkWeights({ architecture, text, unet, vae }: Model): void {
  const size = architecture.sampleSize
  const tokens = architecture.text.max_position_embeddings
  clipTextGraph(architecture.text, new Weights(text), 1)
  unetGraph(architecture.unet, new Weights(unet), { batch: 1, height: size, width: size, tokens })
  vaeDecoderGraph(architecture.vae, new Weights(vae), size, size)
  if (hasEncoder(new Weights(vae))) {
    const scale = vaeScale(architecture.vae)
    vaeEncoderGraph(architecture.vae, new Weights(vae), size * scale, size * scale)
  }
}

/** What the weights of a part take in memory in the precision that they are computed in, without those that are fed. */
export function weightBytes(
  { tensors }: SafetensorsFile,
  precision: Precision,
  replaced: ReadonlySet<string> = new Set(),
): number {
  const perNumber = precision === 'float16' ? 2 : 4
  let bytes = 0
  for (const [key, { shape, dtype }] of tensors) {
    if (!replaced.has(key))
      bytes += shape.reduce((product, dim) => product * dim, dtype === 'I8' ? 1 : perNumber)
  }
  return bytes
}
