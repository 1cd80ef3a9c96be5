import { resolve } from 'node:path'
import { workerData } from 'node:worker_threads'
import { encodePreview } from '../adapters/pictures/encode.ts'
import { pictureReader } from '../adapters/pictures/picture-reader.ts'
import { type Engine, openEngine } from '../diffusion/engine.ts'
import {
  CheckpointError,
  MemoryError,
  messageOfThrown,
  opening,
  PromptTooLongError,
  ProviderError,
} from '../diffusion/errors.ts'
import { eightBitsGain, type Gain } from '../diffusion/int8/probe.ts'
import { infotext } from '../diffusion/output/infotext.ts'
import { KeptStates } from '../diffusion/prompt/kept-states.ts'
import type { Picture } from '../diffusion/request.ts'
import { findDevice } from '../diffusion/runtime/provider.ts'
import type { Profile, Session } from '../diffusion/runtime/session.ts'
import { SessionCache } from '../diffusion/runtime/session-cache.ts'
import { Turns } from '../diffusion/runtime/turns.ts'
import { AppError } from '../jobs/errors.ts'
import { drawnSize, stepsOf } from '../jobs/pictures.ts'
import { promptPreviews } from '../jobs/preview-count.ts'
import { fileFault } from '../library/file-fault.ts'
import { entryStamp } from '../library/folder/facts-cache.ts'
import { Library, type LibraryModel } from '../library/library.ts'
import { packageVersion } from '../version.ts'
import { modelMemory, profileFor } from './auto-profile.ts'
import { deliver } from './deliver.ts'
import { draw as drawPicture } from './draw.ts'
import { type EngineChoice, EnginePool } from './engine-pool.ts'
import { engineFiles, engineRequest, sourceImage, tinyVaeFor, upscalerFile } from './engine-request.ts'
import { enlarger } from './enlarger.ts'
import { inFrame, keptPhotos, onSet } from './keep/keep.ts'
import { matteSource } from './matte-source.ts'
import type { InferenceSettings, ThreadNews } from './protocol.ts'
import { type PictureMaker, serveInference } from './serve.ts'
import { removeUnused } from './unused-weights.ts'

/** The inference thread: the engine behind the service's requests. */

/** Who asks for many previews gets them at most so often: each is written to the status store and sent to those who look. */
const previewEveryMs = 1000

/** How many pictures are drawn at the same time by default: a CPU is as busy with one as with several. */
const onItsOwn = { cpu: 1, webgpu: 4, cuda: 4 } as const

interface Choice extends EngineChoice {
  readonly model: string
  readonly vae: string | undefined
  readonly parameters: number
}

async function load(settings: InferenceSettings, tell: (news: ThreadNews) => void): Promise<PictureMaker> {
  const { threads, promptWindows, pictureSettings, finishPixels, batch } = settings
  const device = await findDevice(settings.providers)
  const { provider } = device
  const together = batch === 'auto' ? onItsOwn[provider] : Number(batch)
  const onWarning = (message: string) => tell({ type: 'warning', message })
  device.passedOver.forEach(onWarning)
  const sessions = new SessionCache<Session>(modelMemory(settings))
  const keptText = new KeptStates()
  const cacheFolder = resolve(settings.dataDir, 'weights')
  /** Of the model that was opened last. */
  let profile: Profile = settings.profile === 'auto' ? 'fast' : settings.profile
  const pool: EnginePool<Choice, Engine> = new EnginePool({
    open: async ({ name, model, vae, parameters }: Choice) => {
      const chosen = await profileFor(settings, { parameters }, { provider, cacheFolder })
      profile = chosen.profile
      if (chosen.reason !== undefined) tell({ type: 'profile', model: name, profile, reason: chosen.reason })
      return opening(`The model ${name}`, () =>
        openEngine({
          ...device,
          model,
          vae,
          profile: chosen.profile,
          threads,
          sessions,
          cacheFolder,
          promptWindows,
          together,
          keptText,
          onWarning,
        }),
      )
    },
    onChange: () => tell({ type: 'holdings', holdings: { models: pool.held(), provider, profile } }),
  })
  const choose = async (model: LibraryModel, vae: string | undefined): Promise<Choice> => ({
    name: model.name,
    key: JSON.stringify([model.path, vae]),
    stamp: `${await entryStamp(model.path)} ${vae === undefined ? '' : await entryStamp(vae)}`,
    model: model.path,
    vae,
    parameters: model.parameters,
  })

  const library = new Library(settings)
  const installed = await library.read()
  const [first] = installed.models
  if (first === undefined) throw new Error('a library has a default model')
  const { vae } = engineFiles({ model: first.name }, installed)
  let gain: Promise<Gain> | undefined
  /** Measured when it is asked for the first time. */
  const gainsFromInt8 = async () => {
    const isFirst = gain === undefined
    gain ??= eightBitsGain({ provider, threads })
    const { gains, why } = await gain
    if (isFirst) tell({ type: 'eight bits', gains, reason: why })
    return gains
  }
  const unasked = settings.precision === 'int8' && (await gainsFromInt8()) ? settings.precision : undefined
  // sessions for the default size and precision, so that the first picture does not wait for the weights
  if (vae !== undefined || first.needs_vae !== true) {
    await pool.use(await choose(first, vae), (engine) => engine.prepare({ ...first, precision: unasked }))
  }
  // after the default model, whose copies were just used
  const unused = await removeUnused(cacheFolder)
  if (unused > 0) tell({ type: 'unused', bytes: unused })
  const version = await packageVersion()
  const reader = pictureReader()
  const larger = enlarger({
    ...device,
    profile: settings.profile === 'dense' ? 'dense' : 'fast',
    threads,
    sessions,
  })
  const matte = matteSource(settings, modelMemory(settings))
  const keptOf = keptPhotos(reader, matte)
  /** Pictures of many megapixels: memory has room for the work on one. */
  const large = new Turns()
  return {
    together,
    async make(request, index, { onStep, onPhase, signal, images, looks, earlier, previews }) {
      const contents = await library.readAll()
      const steps = stepsOf(request)
      const eightBits = request.precision === 'int8' && (await gainsFromInt8())
      const precision = eightBits ? ('int8' as const) : undefined
      const kept = request.keep && images && (() => keptOf(images))
      /** How each try was made. */
      const told = new Map<number, string>()
      const show = async (seen: Picture) => {
        // the picture does not depend on it
        const bytes = await encodePreview(seen, drawnSize(request)).catch((thrown: unknown) => {
          onWarning(`A preview cannot be written: ${messageOfThrown(thrown)}`)
          return undefined
        })
        if (bytes !== undefined) previews?.show(bytes)
      }
      const enlarge = (drawn: Picture, name: string) =>
        larger.enlarge(drawn, upscalerFile(contents, name), { signal })
      const draw = async (seed: number, attempt: number) => {
        const files = engineFiles(request, contents)
        const wanted = engineRequest(request, seed, contents)
        const framed =
          kept &&
          (await inFrame(await kept(), { ...request, strength: request.strength ?? 1, pixels: finishPixels }))
        const image = framed?.source ?? (images && (await sourceImage(request, images, reader)))
        const choice = await choose(files.model, files.vae)
        const made = { ...wanted, image, precision }
        told.set(seed, infotext(made, { ...request, version }))
        const onPart = (step: number, all: number) =>
          onStep(attempt * steps + Math.ceil((step / all) * steps))
        const options = { onStep: onPart, onPhase, signal }
        const everyMs = previews !== undefined && previews.count > promptPreviews ? previewEveryMs : 0
        const shown =
          previews !== undefined && attempt === 0
            ? { count: previews.count, everyMs, decoder: tinyVaeFor(contents, request), show }
            : undefined
        return pool.use(choice, async (engine) => {
          const generate: Engine['generate'] = (asked, how) =>
            opening(`The model ${files.model.name}`, () => engine.generate(asked, how))
          const how = { ...options, ...(shown && { previews: shown }) }
          const drawn = await drawPicture(made, request, { generate, enlarge }, how)
          if (framed === undefined) return drawn
          const { upscaler } = request
          const set = upscaler === undefined ? drawn : await enlarge(drawn, upscaler)
          return large.take(() => onSet(framed, set, matte))
        })
      }
      const delivered = await deliver(request, index, {
        draw,
        enlarge,
        matte,
        reader,
        images,
        kept,
        looks,
        earlier,
        inTurn: (work) => large.take(work),
        parametersOf: (seed) => (pictureSettings === 'on' ? told.get(seed) : undefined),
        onDrawn: () => onPhase('encode'),
      })
      return request.precision === 'int8' && !eightBits ? { ...delivered, precision: 'exact' } : delivered
    },
  }
}

function expected(thrown: unknown): AppError | undefined {
  if (thrown instanceof CheckpointError) return fileFault(thrown)
  const details = { cause: thrown }
  if (thrown instanceof MemoryError || thrown instanceof PromptTooLongError)
    return new AppError('too_large', thrown.message, details)
  return thrown instanceof ProviderError ? new AppError('unavailable', thrown.message, details) : undefined
}

await serveInference((tell) => load(workerData as InferenceSettings, tell), expected)
