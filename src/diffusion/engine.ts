import { join, parse } from 'node:path'
import { type Model, openModel } from './checkpoint/model.ts'
import { openTinyVaeFile, type TinyVae } from './checkpoint/tiny-vae-file.ts'
import { AbortedError, CheckpointError, opening, PromptTooLongError, saidToAll } from './errors.ts'
import { FileCache } from './file-cache.ts'
import { fileStamp } from './file-stamp.ts'
import type { Attention, Precision } from './graph/graph.ts'
import { startRun } from './image-to-image.ts'
import { InEightBits } from './int8/networks.ts'
import { inEightBits } from './int8/prepare.ts'
import { openLora } from './lora/lora.ts'
import { type AppliedLora, sameLoras } from './lora/plan.ts'
import { checkWeights, type LatentSize, ModelSessions } from './model-sessions.ts'
import { vaeScale } from './models/vae.ts'
import { type Networks, networksFor } from './networks.ts'
import { toPicture } from './planes.ts'
import { atMostEvery, coloursBeside, Previewer } from './preview/previewer.ts'
import { encodePrompts, promptAlone, type TextStates } from './prompt/encode.ts'
import { KeptStates } from './prompt/kept-states.ts'
import { openTextualInversion, type TextualInversion } from './prompt/textual-inversion.ts'
import { layOutPrompt, namesIn } from './prompt/windows.ts'
import { TorchGenerator } from './random/torch-normal.ts'
import type { Picture, PictureRequest, RunOptions } from './request.ts'
import type { Session, SessionOptions } from './runtime/session.ts'
import { SessionCache } from './runtime/session-cache.ts'
import { widened } from './safetensors/widen.ts'
import { samplerEntry } from './samplers/catalog.ts'
import { beginIndex, createSampler } from './samplers/create-sampler.ts'
import { callsToShow, estimateClean } from './samplers/estimate.ts'
import { guidedCalls } from './samplers/guided-calls.ts'
import { guide, scaled, withExtra } from './samples.ts'
import type { ClipTokenizer } from './tokenizer/clip-tokenizer.ts'

export interface EngineOptions extends SessionOptions {
  /** A folder in diffusers layout, or a single file. */
  readonly model: string
  /** A file whose VAE replaces the model's own. */
  readonly vae?: string | undefined
  /** What to compute in; see `findDevice`. */
  readonly precision?: Precision
  readonly attention?: Attention
  /** Where its sessions are held, to share a memory budget with other engines; by default one of 6 GiB. */
  readonly sessions?: SessionCache<Session>
  /** Windows of 75 tokens that a prompt may have: memory and time of a step grow with them. By default any number. */
  readonly promptWindows?: number
  /** False: those beside the model are not used, and are learned anew. */
  readonly latentColours?: boolean
  /** Where what the text encoder makes is kept, to share its bound with other engines; by default 16 MiB of its own. */
  readonly keptText?: KeptStates
  /** How many pictures that are drawn at the same time may go through the UNet in one run; by default one. */
  readonly together?: number
  /** Fewest channels of layers that are computed in fewer products (`models/winograd.ts`); by default from where it gains time. */
  readonly winogradFrom?: number
  /** Receives what an operator should know of, in a sentence. */
  readonly onWarning?: (message: string) => void
  /**
   * Where copies of weights are kept: in float32 for the profile `dense` and packed for `packed`, which make none without
   * it, and in eight bits.
   */
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
  checkWeights(model)
  const how = {
    ...options,
    precision: options.precision ?? 'float32',
    packedFolder: cacheFolder && join(cacheFolder, 'packed'),
    attention: options.attention ?? 'fused',
    sessions: options.sessions ?? new SessionCache(defaultMemoryBudget),
  }
  const sessions = new ModelSessions(model, how)
  const eightBits = async () => {
    if (cacheFolder === undefined) throw new Error('eight bits need a folder for copies of weights')
    const [unet, vae] = [
      await inEightBits(stored.unet, join(cacheFolder, 'unet'), options),
      await inEightBits(stored.vae, join(cacheFolder, 'vae'), options),
    ]
    // the scale of a layer's input is that of all rows: what is drawn together would not be the same as alone
    return new ModelSessions(model, { ...how, together: 1, eightBits: { unet, vae } })
  }
  // another VAE has colours of its own
  const colours = vae === undefined && options.latentColours !== false ? await coloursBeside(path) : undefined
  return new Engine(sessions, await model.tokenizer(), { ...options, eightBits, colours })
}

async function widenedModel(model: Model, folder: string): Promise<Model> {
  const [text, unet, vae] = [
    await widened(model.text, join(folder, 'text')),
    await widened(model.unet, join(folder, 'unet')),
    await widened(model.vae, join(folder, 'vae')),
  ]
  return { ...model, text, unet, vae }
}

interface Prepared extends Pick<PictureRequest, 'precision'> {
  readonly width: number
  readonly height: number
}

/**
 * One model in memory. Requests may come at any time: each picture is the same as alone, and those that are drawn at the
 * same time share runs of the UNet if `together` allows it and they have the same size, LoRAs and length of prompts.
 */
export class Engine {
  readonly model: Model
  readonly tokenizer: ClipTokenizer
  readonly #sessions: ModelSessions
  /** Those of the last picture: the pictures of a job have the same LoRAs, and laying them out takes a while. */
  #last: { readonly loras: readonly AppliedLora[]; readonly networks: Networks } | undefined
  readonly #loras = new FileCache(
    (path) => opening(`The LoRA ${parse(path).name}`, () => openLora(path, this.model)),
    keptLoras,
  )
  readonly #embeddings = new FileCache(
    (path) => opening(`The embedding ${parse(path).name}`, () => openTextualInversion(path)),
    keptEmbeddings,
  )

  readonly #tinyVaes = new FileCache(
    (path) => opening(`The tiny VAE ${parse(path).name}`, () => openTinyVaeFile(path)),
    keptLoras,
  )
  readonly #eightBits: InEightBits
  readonly #states: KeptStates
  readonly #previewer: Previewer
  readonly #promptWindows: number

  constructor(
    sessions: ModelSessions,
    tokenizer: ClipTokenizer,
    {
      promptWindows = Number.POSITIVE_INFINITY,
      keptText = new KeptStates(),
      colours,
      eightBits,
    }: Pick<EngineOptions, 'promptWindows' | 'keptText'> & {
      readonly colours?: readonly number[] | undefined
      readonly eightBits?: () => Promise<ModelSessions>
    } = {},
  ) {
    this.#eightBits = new InEightBits(eightBits)
    this.#promptWindows = promptWindows
    this.#states = keptText
    this.model = sessions.model
    this.tokenizer = tokenizer
    this.#sessions = sessions
    this.#previewer = new Previewer(sessions, colours)
  }

  /** How its previews see latents, see `LatentColours`; undefined if nothing was decoded yet. */
  get latentColours(): readonly number[] | undefined {
    return this.#previewer.colours
  }

  /** Memory that it holds, approximately. */
  get bytes(): number {
    return this.#sessions.bytes + this.#eightBits.bytes
  }

  /** Makes the sessions for guided pictures of a size in pixels, so that the first one does not wait for them. */
  async prepare({ width, height, precision }: Prepared): Promise<void> {
    const scale = vaeScale(this.model.architecture.vae)
    const sessions = precision === 'int8' ? await this.#eightBits.sessions() : this.#sessions
    await this.#sessions.prepareText()
    await sessions.prepare({ height: height / scale, width: width / scale })
  }

  /**
   * @throws AbortedError before a call of the model once the signal is aborted; CheckpointError naming the model,
   * LoRA or embedding at fault; MemoryError if the picture needs more than there is; PromptTooLongError; RangeError for
   * a picture or strength that does not fit the request
   */
  async generate(request: PictureRequest, options: RunOptions = {}): Promise<Picture> {
    const { onStep, onPhase, signal, previews } = options
    const { prediction_type } = this.model.architecture.noise
    const { width, height, steps, guidanceScale } = request
    const run = await this.#sessions.beginnings.take(() => this.#begin(request, options))
    const { networks, size, sampler, start, begin, withGuidance, shown, looker, tiny } = run
    const { timesteps } = sampler
    const isDue = atMostEvery(previews?.everyMs ?? 0)
    let sample = start.sample
    for (let call = begin; call < timesteps.length; call++) {
      if (signal?.aborted) throw new AbortedError(`stopped before call ${call + 1} of ${timesteps.length}`)
      const input = withExtra(scaled(sample, sampler.scaleInput(call)), start.extraChannels)
      const guiding = call - begin < withGuidance
      const text = guiding ? run.text : run.alone
      const prediction = await networks.predict(input, timesteps[call]!, text, size)
      const wanted = guiding ? guide(prediction, guidanceScale) : prediction
      if (!wanted.every(Number.isFinite)) throw this.#notFinite(call)
      const before = sample
      sample = start.keep(sampler.step(wanted, call, sample), call)
      onStep?.(Math.ceil((steps * (call + 1 - begin)) / (timesteps.length - begin)), steps)
      if (previews !== undefined && shown.has(call) && isDue()) {
        const at = { prediction: wanted, sample: before, index: call }
        const clean = start.keep(estimateClean(sampler, prediction_type, at), timesteps.length - 1)
        await previews.show(await this.#previewer.look(clean, size, networks, looker))
      }
    }
    onPhase?.('decode')
    const planes = tiny
      ? await networks.decodeTiny(tiny, sample, size)
      : this.#previewer.seen(sample, size, await networks.decode(sample, size))
    return toPicture(planes, width, height)
  }

  /** All that comes before the first step. */
  async #begin(request: PictureRequest, { onPhase, previews }: RunOptions) {
    const { vae, noise } = this.model.architecture
    const { width, height, steps, guidanceScale, image } = request
    const scale = vaeScale(vae)
    const size: LatentSize = { height: height / scale, width: width / scale }
    const guided = guidanceScale > 1
    const tiny = request.decoder === undefined ? undefined : await this.#tinyVae(request.decoder)
    const loras = await this.#openLoras(request)
    const exact = this.networks(loras)
    const networks = request.precision === 'int8' ? await this.#eightBits.networks(exact, loras) : exact
    onPhase?.('text')
    const text = await this.#encodePrompts(request, networks, loras, guided)

    onPhase?.('steps')
    const generator = new TorchGenerator(request.seed)
    const randn = () => generator.randn(vae.latent_channels * size.height * size.width)
    const begin = image ? beginIndex(request.sampler, steps, image.strength) : 0
    const sampler = createSampler({ ...request, noise, begin }, randn)
    const { inpainting } = this.model
    const { encode } = networks
    const parts = { width, height, sampler, begin, generator, vae, inpainting, encode }
    const start = await startRun(image, parts)
    const callsPerStep = samplerEntry(request.sampler).callsPerStep ?? 1
    const run = { begin, end: sampler.timesteps.length, callsPerStep }
    const shown = callsToShow(run, previews?.count ?? 0)
    const withGuidance = guidedCalls(run, request)
    const alone = guided && withGuidance < run.end - begin ? promptAlone(text) : text
    const looker = previews?.decoder === undefined ? undefined : await this.#tinyVae(previews.decoder)
    return { networks, size, text, alone, sampler, start, begin, withGuidance, shown, looker, tiny }
  }

  /** The model's networks with these LoRAs. */
  networks(loras: readonly AppliedLora[] = []): Networks {
    if (this.#last === undefined || !sameLoras(this.#last.loras, loras)) {
      this.#last = { loras, networks: networksFor(this.#sessions, loras) }
    }
    return this.#last.networks
  }

  async close(): Promise<void> {
    await this.#eightBits.close()
    await this.#sessions.close()
  }

  async #openLoras({ loras = [] }: PictureRequest) {
    return Promise.all(
      loras.map(async ({ file, strength, textStrength = strength }) => {
        return { lora: await this.#loras.get(file), strengths: { text: textStrength, unet: strength } }
      }),
    )
  }

  async #tinyVae(path: string): Promise<TinyVae> {
    const tiny = await this.#tinyVaes.get(path)
    const { vae } = this.model.architecture
    const { channels, scale } = tiny.sizes
    if (channels === vae.latent_channels && scale === vaeScale(vae)) return tiny
    const subject = `The tiny VAE ${parse(path).name}`
    const reason = `it is made for latents of ${channels} channels and ${scale} pixels`
    throw new CheckpointError(`${path}: ${reason}`, { reason, subject })
  }

  async #encodePrompts(
    request: PictureRequest,
    networks: Networks,
    loras: readonly AppliedLora[],
    guided: boolean,
  ): Promise<TextStates> {
    const { prompt, negativePrompt, clipSkip = 1 } = request
    const { hidden_size: width, max_position_embeddings: positions } = this.model.architecture.text
    const inversions = await this.#openEmbeddings(request)
    const prompts = guided ? [negativePrompt, prompt] : [prompt]
    const laidOut = prompts.map((text) => layOutPrompt(text, this.tokenizer, inversions, positions))
    const most = Math.max(...laidOut.map(({ length }) => length))
    if (most > this.#promptWindows) {
      throw new PromptTooLongError(
        `A prompt may have at most ${this.#promptWindows} windows of 75 tokens, this one has ${most}.`,
      )
    }
    const { identities } = this.#states
    const applied = loras
      .filter(({ lora, strengths }) => strengths.text !== 0 && lora.layers.text.length > 0)
      .map(({ lora, strengths }) => `${identities.of(lora)}:${strengths.text}`)
    // with a file that has changed all goes on, or fails, as if nothing were kept
    const stamp = await fileStamp(this.model.text.path)
    return encodePrompts(laidOut, {
      width,
      lookUp: networks.lookUp,
      run: (embeddings) => networks.encodeText(embeddings, clipSkip),
      kept: {
        states: this.#states,
        key: `${identities.of(this)} ${stamp} skip ${clipSkip} with ${applied}`,
      },
    })
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
    return saidToAll(
      `the model gave no finite numbers at call ${call + 1}: its weights, or those of a LoRA, ` +
        'are damaged or too large for what it computes in',
    )
  }
}
