import type { Config } from '../config.ts'
import { readFacts } from '../diffusion/checkpoint/facts.ts'
import type { Kind } from '../diffusion/checkpoint/kinds.ts'
import { misfit } from '../diffusion/checkpoint/usable.ts'
import type { FewStepPaces, FewSteps } from '../diffusion/lora/few-steps.ts'
import { parseSamplerName, parseScheduleName, samplerCatalog } from '../diffusion/samplers/catalog.ts'
import { messageOf } from '../jobs/errors.ts'
import type { Log } from '../jobs/log.ts'
import type { AddOn, Offer, SamplerNames } from '../jobs/offer.ts'
import type { PaceRecipes } from '../jobs/paces.ts'
import type { PromptReader } from '../jobs/ports.ts'
import { threadedFacts } from './folder/facts-reader.ts'
import type { Entry } from './folder/list.ts'
import { type Contents, Library, type LibraryModel } from './library.ts'
import { promptReader } from './prompt-reader.ts'

/** What a server offers, kept up to date while files are added and removed. */
export interface OfferSource {
  current(): Offer
  readonly prompts: PromptReader
  close(): void
}

const lookEveryMs = 3000

/** Resolves when the models are known. Rejects `model_invalid` if the default model cannot be used. */
export async function openOffer(config: Config, log: Log, everyMs = lookEveryMs): Promise<OfferSource> {
  const thread = threadedFacts()
  // while nobody is served yet, this thread is the one that is there
  let read = readFacts
  const library = new Library(config, (path) => read(path))
  let contents = await library.read()
  read = thread.read
  let offer = offerOf(contents)
  tell(contents, undefined, log)
  let [looking, closed] = [false, false]
  let lastFault = ''
  const look = async () => {
    if (looking) return
    looking = true
    try {
      const now = await library.read()
      if (closed) return
      lastFault = ''
      if (now === contents) return
      tell(now, contents, log)
      offer = offerOf(now)
      contents = now
      log.info({ models: offer.models.map(({ name }) => name) }, 'the models folder changed')
    } catch (err) {
      if (closed) return
      const fault = messageOf(err)
      if (fault !== lastFault) log.error({ err }, 'the models cannot be read; the last offer stays in use')
      lastFault = fault
    } finally {
      looking = false
    }
  }
  const timer = setInterval(() => void look(), everyMs)
  timer.unref()
  const prompts = promptReader(() =>
    contents.addOns
      .filter(({ kind }) => kind === 'embedding')
      .map(({ name, facts }) => ({ name, vectors: vectorsOf(facts?.parameters) })),
  )
  const close = () => {
    closed = true
    clearInterval(timer)
    thread.close()
  }
  return { current: () => offer, prompts, close }
}

/** The width of the family's text encoder, and the most vectors that fit into a window. */
const [width, mostVectors] = [768, 75]

function vectorsOf(parameters: number | undefined): number {
  return parameters === undefined ? mostVectors : Math.min(mostVectors, Math.ceil(parameters / width))
}

/** Logs what was not known before. */
function tell({ problems, remarks }: Contents, before: Contents | undefined, log: Log): void {
  // the text before the first colon names the file; the fault of a file that is being copied keeps changing
  const subject = (problem: string) => problem.split(':')[0]
  const told = new Set(before?.problems.map(subject))
  for (const problem of problems) {
    if (!told.has(subject(problem))) log.warn({ problem }, 'a model file cannot be used')
  }
  for (const remark of remarks) {
    if (!before?.remarks.includes(remark))
      log.info({ remark }, 'something in the models folder is passed over')
  }
}

export function offerOf({ models, addOns, unusable }: Contents): Offer {
  const list = (kind: Kind): AddOn[] => [
    ...addOns.filter((entry) => entry.kind === kind).map((entry) => addOnOf(entry, models)),
    ...unusable.filter((entry) => entry.kind === kind).map((entry) => addOnOf(entry, models)),
  ]
  return {
    models: models.map(({ path: _path, described: _described, ...info }) => info),
    unusable: unusable
      .filter(({ kind }) => kind === 'model')
      .map(({ name, problem }) => ({ name, problem: problem?.reason ?? '' })),
    vaes: list('vae'),
    loras: list('lora'),
    embeddings: list('embedding'),
    upscalers: list('upscaler'),
    tiny_vaes: list('tiny_vae'),
    samplers: samplerNames,
  }
}

/** Multiplications of one call of Stable Diffusion 1.5's UNet for a megapixel, in millions: 0.8 TFLOP at 512x512. */
const callWork = 1.53e6

/** Of an upscaler. */
function enlarging(facts: Entry['facts']): Pick<AddOn, 'enlarges'> {
  const addOn = facts?.addOn
  if (addOn === undefined || addOn instanceof Error || addOn.upscaler === undefined) return {}
  const { scale, work } = addOn.upscaler
  return { enlarges: { scale, units: (work * 1e6) / callWork } }
}

function addOnOf({ name, facts, problem }: Entry, models: readonly LibraryModel[]): AddOn {
  const misfits = models.flatMap((model): [string, string][] => {
    const reason = facts && misfit(facts, model.described)
    return reason === undefined ? [] : [[model.name, reason]]
  })
  return {
    name,
    family: facts?.family ?? 'unknown',
    ...(problem && { problem: problem.reason }),
    ...(facts?.fewSteps && { paces: pacesOf(facts.fewSteps) }),
    ...enlarging(facts),
    ...(misfits.length > 0 && { misfits: new Map(misfits) }),
  }
}

/** A LoRA's settings under the names of requests. */
function pacesOf(fewSteps: FewStepPaces): PaceRecipes {
  const named = Object.entries(fewSteps).map(([pace, { guidanceScale, ...settings }]: [string, FewSteps]) => {
    return [pace, { ...settings, guidance_scale: guidanceScale }]
  })
  return Object.fromEntries(named)
}

/** The engine's samplers as the service describes them. */
export const samplerNames: SamplerNames = {
  parse: parseSamplerName,
  parseSchedule: parseScheduleName,
  of: () =>
    samplerCatalog.map(
      ({
        name,
        label,
        diffusers,
        aliases,
        schedules,
        defaultSchedule,
        maximumSteps,
        callsPerStep,
        defaultEta,
        takesTimesteps,
      }) => ({
        name,
        label,
        aliases: [diffusers, ...aliases],
        schedules,
        default_schedule: defaultSchedule,
        ...(maximumSteps !== undefined && { max_steps: maximumSteps }),
        ...(callsPerStep !== undefined && { calls_per_step: callsPerStep }),
        ...(defaultEta !== undefined && { default_eta: defaultEta }),
        ...(takesTimesteps && { takes_timesteps: true }),
      }),
    ),
}
