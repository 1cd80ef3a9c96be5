import type { StoredTensor } from '../safetensors/safetensors.ts'
import { parseSamplerName, type SamplerName, type Schedule, samplerEntry } from '../samplers/catalog.ts'

/**
 * LoRAs that a model was distilled into so that it needs few steps: what they are called, and the settings that their
 * publishers give for Stable Diffusion 1.5. A guidance of 0 there is written as 1 here: both are none.
 */

/** Settings that a LoRA was made for. Of several LoRAs the one with the lowest `order` is preferred. */
export interface FewSteps {
  readonly sampler: SamplerName
  readonly schedule: Schedule
  readonly steps: number
  readonly guidanceScale: number
  readonly eta?: number
  readonly timesteps?: readonly number[]
  readonly order: number
}

/** `quick` has about 4 to 12 steps, `instant` 1 or 2. */
export interface FewStepPaces {
  readonly quick?: FewSteps
  readonly instant?: FewSteps
}

const trailing = (steps: number, guidanceScale: number, order: number): FewSteps => {
  return { sampler: 'ddim', schedule: 'sgm_uniform', steps, guidanceScale, order }
}
const lcm = (steps: number, order: number): FewSteps => {
  return { sampler: 'lcm', schedule: 'sgm_uniform', steps, guidanceScale: 1, order }
}
const tcd = (steps: number, eta: number, order: number): FewSteps => {
  return { sampler: 'tcd', schedule: 'sgm_uniform', steps, guidanceScale: 1, eta, order }
}

/**
 * By kind. Sources: the cards of huggingface.co/latent-consistency/lcm-lora-sdv1-5 (2 to 8 steps), h1t/TCD-SD15-LoRA (4
 * steps, eta 0.3) and ByteDance/Hyper-SD: DDIM with trailing timesteps and the steps of the file's name; TCD with eta 1
 * for the one-step LoRA, which takes 1 to 8 steps (the eta for 4 is TCD's own); guidance 5 to 8 for the CFG-preserving.
 */
const kinds: Readonly<Record<string, FewStepPaces>> = {
  lcm: { quick: lcm(4, 40), instant: lcm(2, 40) },
  tcd: { quick: tcd(4, 0.3, 30) },
  'hyper-1step': { instant: tcd(1, 1, 10), quick: tcd(4, 0.3, 35) },
  'hyper-2steps': { instant: trailing(2, 1, 20) },
  'hyper-4steps': { quick: trailing(4, 1, 10) },
  'hyper-8steps': { quick: trailing(8, 1, 20) },
  'hyper-8steps-cfg': { quick: trailing(8, 5, 50) },
  'hyper-12steps-cfg': { quick: trailing(12, 5, 60) },
}

/** What `few_steps` beside a file may name. */
const fewStepKinds = Object.keys(kinds)

/** The kind that a name means, whatever its case, spaces and hyphens. */
function kindCalled(name: string): string | undefined {
  const plain = name.toLowerCase().replaceAll(/[^a-z0-9]/g, '')
  const [, steps, cfg] = /hypersd(?:v?15)?(\d+)steps?(cfg)?/.exec(plain) ?? []
  const hyper = `hyper-${steps}step${steps === '1' ? '' : 's'}${cfg === undefined ? '' : '-cfg'}`
  if (steps !== undefined) return Object.hasOwn(kinds, hyper) ? hyper : undefined
  if (/lcmlora|lcm(weights)?sdv?15|loralcm/.test(plain)) return 'lcm'
  return /tcd(sdv?15)?lora|tcdsdv?15|loratcd/.test(plain) ? 'tcd' : undefined
}

/** Keys of a header's metadata in which programs write what a LoRA is called. */
const nameKeys = ['modelspec.title', 'ss_output_name', 'sshs_name', 'name', 'title']

interface LoraFile {
  /** Of the file, without its extension. */
  readonly name: string
  readonly metadata: ReadonlyMap<string, string>
  readonly tensors: ReadonlyMap<string, StoredTensor>
  /** The fields of NAME.json beside it. */
  readonly own: Readonly<Record<string, unknown>>
}

/**
 * The paces of a LoRA, by what is said beside the file, its name, and its metadata. Undefined for any other LoRA.
 * @param remark gets the end of a sentence about the file
 */
export function fewStepsOf(
  { name, metadata, tensors, own }: LoraFile,
  remark: (text: string) => void,
): FewStepPaces | undefined {
  const { few_steps: declared } = own
  if (declared !== undefined) {
    const read = readDeclared(declared)
    if (typeof read !== 'string') return read
    remark(`few_steps in ${name}.json ${read}; it is passed over`)
  }
  const names = [name, ...nameKeys.flatMap((key) => metadata.get(key)?.slice(0, 200) ?? [])]
  for (const each of names) {
    const kind = kindCalled(each)
    if (kind !== undefined) return kinds[kind]
  }
  if (looksDistilled(tensors, metadata)) {
    remark(
      `it is like LoRAs for few steps, which cannot be told apart: if it is one, write {"few_steps": "lcm"} ` +
        `(or ${fewStepKinds.slice(1).join(', ')}) into ${name}.json beside it`,
    )
  }
  return undefined
}

/** The layout of diffusers' distillation scripts: rank 64 in the whole UNet with its time embeddings, no text encoder. */
function looksDistilled(
  tensors: ReadonlyMap<string, StoredTensor>,
  metadata: ReadonlyMap<string, string>,
): boolean {
  const keys = [...tensors.keys()]
  if (
    keys.some((key) => /^(lora_te|text_encoder)/.test(key)) ||
    [...metadata.keys()].some((key) => key.startsWith('ss_'))
  )
    return false
  const time = keys.find((key) => /time_emb_proj\.lora_?(down|A)/.test(key))
  return time !== undefined && tensors.get(time)?.shape[0] === 64
}

/** @returns what is wrong with it, to follow the field's name */
function readDeclared(value: unknown): FewStepPaces | undefined | string {
  if (value === false) return undefined
  if (typeof value === 'string') {
    return Object.hasOwn(kinds, value) ? kinds[value] : `must be one of ${fewStepKinds.join(', ')}`
  }
  if (typeof value !== 'object' || value === null) return 'must be a name or an object'
  const { quick, instant, ...others } = value as Readonly<Record<string, unknown>>
  const [foreign] = Object.keys(others)
  if (foreign !== undefined)
    return `must have quick and instant alone, but has ${JSON.stringify(foreign.slice(0, 40))}`
  const read: { quick?: FewSteps; instant?: FewSteps } = {}
  for (const [pace, entry] of Object.entries({ quick, instant })) {
    if (entry === undefined) continue
    const settings = readSettings(entry)
    if (typeof settings === 'string') return `has a ${pace} that ${settings}`
    read[pace as 'quick'] = settings
  }
  return read
}

const [mostSteps, mostGuidance] = [50, 30]

/** @returns what is wrong with it, to follow "that" */
function readSettings(value: unknown): FewSteps | string {
  if (typeof value !== 'object' || value === null) return 'is not an object'
  const {
    sampler: text,
    steps,
    guidance_scale = 1,
    eta,
    timesteps,
  } = value as Readonly<Record<string, unknown>>
  const named = typeof text === 'string' ? parseSamplerName(text) : undefined
  if (named === undefined) return 'needs a sampler of GET /v1/samplers'
  const entry = samplerEntry(named.sampler)
  const within = (number: unknown, least: number, most: number): number is number =>
    typeof number === 'number' && number >= least && number <= most
  const given = timesteps === undefined ? undefined : timestepsOf(timesteps)
  if (timesteps !== undefined && (given === undefined || !entry.takesTimesteps))
    return 'needs falling timesteps from 999 to 0, of a sampler that takes them'
  const count = given?.length ?? steps
  if (!within(count, 1, mostSteps) || !Number.isInteger(count)) return `needs 1 to ${mostSteps} steps`
  if (!within(guidance_scale, 0, mostGuidance)) return `needs a guidance_scale from 0 to ${mostGuidance}`
  if (eta !== undefined && (!within(eta, 0, 1) || entry.defaultEta === undefined))
    return 'needs an eta from 0 to 1, of a sampler that has one'
  const schedule = named.schedule ?? entry.defaultSchedule
  if (!entry.schedules.includes(schedule)) return 'needs a schedule that the sampler has'
  return {
    sampler: named.sampler,
    schedule,
    steps: count,
    guidanceScale: guidance_scale,
    ...(eta !== undefined && { eta }),
    ...(given && { timesteps: given }),
    order: 0,
  }
}

function timestepsOf(value: unknown): number[] | undefined {
  if (!Array.isArray(value)) return undefined
  const falling = value.every(
    (t: unknown, i) =>
      Number.isInteger(t) && Number(t) >= 0 && Number(t) < 1000 && (i === 0 || Number(t) < value[i - 1]),
  )
  return falling ? value : undefined
}
