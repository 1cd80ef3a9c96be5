import { stat } from 'node:fs/promises'
import { assertUnchanged, type Model } from './checkpoint/model.ts'
import type { TinyVae } from './checkpoint/tiny-vae-file.ts'
import { Weights } from './checkpoint/weights.ts'
import { lastingStampOf } from './file-stamp.ts'
import type { Attention, GraphOptions, Precision, WeightSource } from './graph/graph.ts'
import { eightBitWeights } from './int8/weights.ts'
import { type LoraPlan, noLoras } from './lora/plan.ts'
import { clipTextGraph } from './models/clip-text.ts'
import { tinyDecoderGraph } from './models/taesd.ts'
import { type UnetShape, unetGraph } from './models/unet.ts'
import { hasEncoder, vaeDecoderGraph, vaeEncoderGraph, vaeScale } from './models/vae.ts'
import { worthWinograd } from './models/winograd.ts'
import { packedSession, packingMachine } from './runtime/packed.ts'
import { Session, type SessionOptions } from './runtime/session.ts'
import type { SessionCache } from './runtime/session-cache.ts'
import { Turns } from './runtime/turns.ts'
import type { SafetensorsFile } from './safetensors/safetensors.ts'

export interface ModelSessionsOptions extends SessionOptions {
  readonly precision: Precision
  readonly attention: Attention
  /** Holds the sessions; models that share one share its budget. */
  readonly sessions: SessionCache<Session>
  /** Where the profile `packed` keeps packed weights; without it, it computes as `fast` does. */
  readonly packedFolder?: string | undefined
  /** UNet and VAE decoder in eight bits, in place of the model's own: see `int8/`. */
  readonly eightBits?: Readonly<Record<'unet' | 'vae', SafetensorsFile>> | undefined
  /** How many pictures may go through the UNet in one run; by default one. */
  readonly together?: number | undefined
  /** As the graph's option, where memory has room for it; by default from where it gains time. */
  readonly winogradFrom?: number | undefined
  /** Receives what an operator should know of, in a sentence. */
  readonly onWarning?: ((message: string) => void) | undefined
}

/**
 * What ONNX Runtime's arena takes for one byte of activations: it extends itself by powers of two. Measured with 1.30 on
 * UNets and decoders from 256 to 1024 pixels: 1.2 to 2.1.
 */
export const arenaFactor = 2.25

type Plan = ReturnType<Parameters<SessionCache<Session>['get']>[2]>

/** What the cache needs to make a session. @param winogradFrom as the graph's option, in place of what memory has room for */
type Planned = [key: string, plan: (winogradFrom?: number) => Plan]

/** What more there is to know of a session. */
interface Kind {
  readonly plan?: LoraPlan
  /** Whether it is worth keeping on the disk in the profile `packed`. */
  readonly kept?: boolean
  /** Of the picture's latents. */
  readonly size?: LatentSize
}

/** Height and width in latent pixels. */
export interface LatentSize {
  readonly height: number
  readonly width: number
}

/**
 * The sessions of one model, each made when it is first asked for: a graph has fixed shapes. LoRAs of the same structure
 * share one, whatever their strengths. A session may be released by the next that is asked for: each is asked for and
 * run in one turn (`turns`).
 */
export class ModelSessions {
  readonly model: Model
  /** Those who are about to draw: the UNet waits for them, so that they go with the others. */
  readonly beginnings = new Turns()
  readonly #options: ModelSessionsOptions
  /** By shape: see `rowsTogether`. */
  readonly #rows = new Map<string, number>()
  /** By size: see `#winogradFrom`. */
  readonly #winograd = new Map<string, number>()
  #vaePrecision: Precision
  /** `HEIGHTxWIDTH` of latents whose graphs are kept packed: requests cannot fill the disk with other sizes. */
  readonly #packedSizes = new Set<string>()

  constructor(model: Model, options: ModelSessionsOptions) {
    this.model = model
    this.#options = options
    this.#vaePrecision = options.precision
    const { sampleSize } = model.architecture
    this.#packedSizes.add(`${sampleSize}x${sampleSize}`)
  }

  /** One after the other: see `SessionCache.turns`. */
  get turns(): Turns {
    return this.#options.sessions.turns
  }

  /** How many pictures may go through the UNet in one run. */
  get together(): number {
    return this.#options.together ?? 1
  }

  /**
   * Rows that a picture must have to go with others. A product with a single row has a kernel of its own on the CPU, where
   * weights are not packed, which adds in another order.
   */
  get leastRows(): number {
    return this.#options.provider === 'cpu' ? 2 : 1
  }

  /** What a run of the UNet has a sample for. A graph for any number of rows cannot tell whose they are. */
  get samples(): 'of pictures' | 'of rows' {
    return this.together > 1 && this.#options.provider !== 'cpu' ? 'of rows' : 'of pictures'
  }

  warn(message: string): void {
    this.#options.onWarning?.(message)
  }

  /** What they hold, in bytes: weights and activations. */
  get bytes(): number {
    return this.#options.sessions.bytes(this)
  }

  /** Makes the text encoder's, for prompts without LoRAs. */
  async prepareText(): Promise<void> {
    await this.turns.take(() => this.text(1, noLoras))
  }

  /** Makes those for guided pictures of a size, so that the first one does not wait for them. */
  async prepare(size: LatentSize): Promise<void> {
    this.#packedSizes.add(nameOf(size))
    await this.turns.take(async () => {
      await this.unet(this.#guided(size), noLoras)
      await this.decoder(size)
    })
  }

  /** @param skip see `clipTextGraph` */
  text(skip: number, plan: LoraPlan): Promise<Session> {
    return this.#options.sessions.get(this, ...this.#text(skip, plan))
  }

  #text(skip: number, plan: LoraPlan): Planned {
    const { text, architecture } = this.model
    const lora = { loraRanks: plan.ranks, replaced: plan.replaced }
    return this.#planned(
      text,
      `text skip ${skip} ${plan.signature}`,
      this.#options.precision,
      (weights, options) => clipTextGraph(architecture.text, weights, 1, { ...options, ...lora, skip }),
      { plan, kept: skip === 1 },
    )
  }

  /**
   * Where pictures may go together, a device has one for any number of rows. The CPU has one for each number: without a
   * fixed shape it fuses fewer operators, which changes bits of the result.
   */
  unet(shape: UnetShape, plan: LoraPlan): Promise<Session> {
    const most = this.#options.provider === 'cpu' ? 0 : this.rowsTogether(shape, plan)
    const planned = this.#unet(most > 0 ? { ...shape, batch: most, pictures: most } : shape, plan, most > 0)
    return this.#options.sessions.get(this, ...planned)
  }

  /**
   * How many rows one run of the UNet may have: two for each of the pictures that may go together, fewer where memory
   * has no room for their activations beside the decoder; 0 if there is not even room for two pictures.
   */
  rowsTogether({ height, width, tokens, masked = false }: Omit<UnetShape, 'batch'>, plan: LoraPlan): number {
    const key = JSON.stringify([height, width, tokens, masked, plan.signature])
    const known = this.#rows.get(key)
    if (known !== undefined) return known
    const { provider, sessions } = this.#options
    // as they are computed alone, whatever would fit otherwise
    const from = this.#winogradFrom({ height, width })
    const bytesOf = ([, make]: Planned) => make(from).bytes
    const beside = this.together > 1 ? bytesOf(this.#decoder({ height, width })) : 0
    let pictures = this.together
    const fits = () => {
      const shape = { height, width, tokens, masked, batch: 2 * pictures }
      return bytesOf(this.#unet(shape, plan, provider !== 'cpu')) + beside <= sessions.budgetBytes
    }
    while (pictures > 1 && !fits()) pictures--
    const rows = pictures > 1 ? 2 * pictures : 0
    this.#rows.set(key, rows)
    return rows
  }

  #unet(shape: UnetShape, plan: LoraPlan, openBatch: boolean): Planned {
    const { unet, architecture } = this.model
    const tokens = architecture.text.max_position_embeddings
    const pieces = this.#options.provider === 'cpu' && !openBatch
    const more = { loraRanks: plan.ranks, replaced: plan.replaced, openBatch, pieces }
    return this.#planned(
      this.#options.eightBits?.unet ?? unet,
      `unet ${JSON.stringify(shape)} ${openBatch ? 'open' : ''} ${plan.signature}`,
      this.#options.precision,
      (weights, options) => unetGraph(architecture.unet, weights, shape, { ...options, ...more }),
      {
        plan,
        kept: shape.batch <= 2 && !shape.masked && shape.tokens === tokens && this.#keeps(shape),
        size: shape,
      },
    )
  }

  decoder(size: LatentSize): Promise<Session> {
    return this.#options.sessions.get(this, ...this.#decoder(size))
  }

  #decoder({ height, width }: LatentSize): Planned {
    const { vae, architecture } = this.model
    const file = this.#options.eightBits?.vae ?? vae
    return this.#planned(
      file,
      `decoder ${height}x${width}`,
      this.#vaePrecision,
      (weights, options) => vaeDecoderGraph(architecture.vae, weights, height, width, options),
      { kept: this.#keeps({ height, width }), size: { height, width } },
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
    const scale = vaeScale(architecture.vae)
    const planned = this.#planned(
      vae,
      `encoder ${height}x${width}`,
      this.#vaePrecision,
      (weights, options) => vaeEncoderGraph(architecture.vae, weights, height, width, options),
      { size: { height: height / scale, width: width / scale } },
    )
    return this.#options.sessions.get(this, ...planned)
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

  close(): Promise<void> {
    return this.turns.take(() => this.#options.sessions.release(this))
  }

  /**
   * From how many channels on convolutions are computed in fewer products, which takes more memory for their weights: there is
   * to be room for all networks of a guided picture beside one another. `dense` has its weights as they are in the file.
   */
  #winogradFrom(size: LatentSize): number {
    const { provider, profile, precision, sessions, winogradFrom = worthWinograd } = this.#options
    if (provider !== 'cpu' || precision !== 'float32' || profile === 'dense') return Number.POSITIVE_INFINITY
    const { unet, vae } = this.model.architecture
    // no layer is as wide: packshot-mini's graphs are not written for their size alone
    if (Math.max(...unet.block_out_channels, ...vae.block_out_channels) < winogradFrom)
      return Number.POSITIVE_INFINITY
    const known = this.#winograd.get(nameOf(size))
    if (known !== undefined) return known
    const networks = [
      this.#text(1, noLoras),
      this.#unet(this.#guided(size), noLoras, false),
      this.#decoder(size),
    ]
    const bytesFrom = (from: number) => networks.reduce((sum, [, plan]) => sum + plan(from).bytes, 0)
    const bytes = bytesFrom(winogradFrom)
    const fits = bytes <= sessions.budgetBytes
    const isFirst = this.#winograd.size === 0
    if (isFirst && !fits && bytesFrom(Number.POSITIVE_INFINITY) < bytes) {
      const [needed, available] = [bytes, sessions.budgetBytes].map((each) => Math.ceil(each / 2 ** 20))
      this.warn(
        `The model would be faster with ${needed} MiB for its networks; a worker may use ${available} MiB.`,
      )
    }
    const from = fits ? winogradFrom : Number.POSITIVE_INFINITY
    this.#winograd.set(nameOf(size), from)
    return from
  }

  /** Of a guided picture with a prompt of one window. */
  #guided(size: LatentSize): UnetShape {
    const tokens = this.model.architecture.text.max_position_embeddings
    const pictures = this.samples === 'of pictures' ? 1 : 2
    return { ...size, batch: 2, pictures, tokens, masked: false }
  }

  #keeps(size: LatentSize): boolean {
    return this.#packedSizes.has(nameOf(size))
  }

  #planned(
    file: SafetensorsFile,
    key: string,
    precision: Precision,
    write: (weights: WeightSource, options: GraphOptions) => Uint8Array,
    { plan = noLoras, kept = false, size }: Kind = {},
  ): Planned {
    const { attention, provider, profile, packedFolder, onWarning, eightBits, sessions } = this.#options
    const inEightBits = file === eightBits?.unet || file === eightBits?.vae
    const packs = provider === 'cpu' && profile === 'packed' && precision === 'float32'
    const folder = packs && kept && plan.signature === noLoras.signature ? packedFolder : undefined
    const make = (winogradFrom: number): Plan => {
      let activations = 0
      let constants = 0
      const onMemory: GraphOptions['onMemory'] = (memory) => ({ activations, constants } = memory)
      const source = inEightBits ? eightBitWeights(file) : new Weights(file)
      const graph = write(source, { precision, attention, onMemory, winogradFrom })
      const weights = weightBytes(file, precision, plan.replaced) + plan.bytes
      return {
        bytes: weights + constants + Math.ceil(arenaFactor * activations),
        create: async () => {
          await assertUnchanged(file)
          if (folder === undefined) return Session.create(graph, file.folder, this.#options)
          const weights = `${file.path} ${lastingStampOf(await stat(file.path, { bigint: true }))}`
          const [part = ''] = key.split(' ', 1)
          const place = { folder, part, weights, machine: packingMachine() }
          return packedSession(graph, file.folder, place, this.#options, onWarning)
        },
      }
    }
    const planned: Planned[1] = (winogradFrom) => {
      if (winogradFrom !== undefined) return make(winogradFrom)
      const made = make(size === undefined ? Number.POSITIVE_INFINITY : this.#winogradFrom(size))
      // a long prompt, or many rows
      return made.bytes > sessions.budgetBytes ? make(Number.POSITIVE_INFINITY) : made
    }
    return [`${key} ${precision}`, planned]
  }
}

function nameOf({ height, width }: LatentSize): string {
  return `${height}x${width}`
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
