/** Names of samplers and schedules: ours and other programs'. No numerics, so that the service can import it. */

/** Names as in requests, the default first. */
export const samplers = [
  'dpmpp_2m',
  'dpmpp_2m_sde',
  'dpmpp_2s',
  'dpmpp_sde',
  'euler',
  'euler_ancestral',
  'heun',
  'ddim',
  'pndm',
  'lms',
  'unipc',
  'lcm',
  'tcd',
] as const
export type SamplerName = (typeof samplers)[number]

/**
 * How the noise levels of a run are spaced. `karras`: https://arxiv.org/abs/2206.00364 equation 5 with rho 7.
 * `exponential`: even in log sigma. `normal`: evenly spaced timesteps ("linspace"). `sgm_uniform`: evenly spaced from
 * the very last timestep ("trailing"). `beta`: https://arxiv.org/abs/2407.12173 with 0.6 and 0.6. `leading`: the
 * spacing of SD 1.5's own config, with an offset of 1. `lu`: even in lambda, https://arxiv.org/abs/2206.00927.
 */
export const schedules = ['karras', 'exponential', 'normal', 'sgm_uniform', 'beta', 'leading', 'lu'] as const
export type Schedule = (typeof schedules)[number]

export interface SamplerEntry {
  readonly name: SamplerName
  /** AUTOMATIC1111's label, if it has this sampler. */
  readonly label: string
  /** The equivalent class in diffusers. */
  readonly diffusers: string
  /** Other names for it; case, spaces, `_` and `-` do not matter. */
  readonly aliases: readonly string[]
  readonly schedules: readonly Schedule[]
  /** One of `schedules`. */
  readonly defaultSchedule: Schedule
  /** Absent if unlimited. */
  readonly maximumSteps?: number
  /** Its eta by default, from 0 to 1: how much fresh noise a step adds. Absent: it has none. */
  readonly defaultEta?: number
  /** It can be given its timesteps. */
  readonly takesTimesteps?: true
  /** Second-order samplers call the model twice per step, but once in the last. */
  readonly callsPerStep?: 2
}

const spacings: readonly Schedule[] = ['normal', 'sgm_uniform', 'leading']
const spacingsAndLevels: readonly Schedule[] = schedules.filter((schedule) => schedule !== 'lu')

export const samplerCatalog: readonly SamplerEntry[] = [
  {
    name: 'dpmpp_2m',
    label: 'DPM++ 2M',
    diffusers: 'DPMSolverMultistepScheduler',
    aliases: ['k_dpmpp_2m', 'sample_dpmpp_2m'],
    schedules,
    defaultSchedule: 'karras',
    takesTimesteps: true,
  },
  {
    name: 'dpmpp_2m_sde',
    label: 'DPM++ 2M SDE',
    diffusers: 'DPMSolverMultistepScheduler',
    aliases: ['k_dpmpp_2m_sde', 'sample_dpmpp_2m_sde', 'sde-dpmsolver++'],
    schedules,
    defaultSchedule: 'karras',
    takesTimesteps: true,
  },
  {
    name: 'dpmpp_2s',
    label: 'DPM++ 2S',
    diffusers: 'DPMSolverSinglestepScheduler',
    aliases: ['k_dpmpp_2s', 'dpmpp_singlestep'],
    schedules: ['karras', 'exponential', 'normal', 'beta'],
    defaultSchedule: 'karras',
    takesTimesteps: true,
  },
  {
    name: 'dpmpp_sde',
    label: 'DPM++ SDE',
    diffusers: 'DPMSolverSDEScheduler',
    aliases: ['k_dpmpp_sde', 'sample_dpmpp_sde'],
    schedules: spacingsAndLevels,
    defaultSchedule: 'karras',
    callsPerStep: 2,
  },
  {
    name: 'euler',
    label: 'Euler',
    diffusers: 'EulerDiscreteScheduler',
    aliases: ['k_euler', 'sample_euler'],
    schedules: spacingsAndLevels,
    defaultSchedule: 'normal',
    takesTimesteps: true,
  },
  {
    name: 'euler_ancestral',
    label: 'Euler a',
    diffusers: 'EulerAncestralDiscreteScheduler',
    aliases: ['k_euler_a', 'k_euler_ancestral', 'sample_euler_ancestral'],
    schedules: spacingsAndLevels,
    defaultSchedule: 'normal',
  },
  {
    name: 'heun',
    label: 'Heun',
    diffusers: 'HeunDiscreteScheduler',
    aliases: ['k_heun', 'sample_heun'],
    schedules: spacingsAndLevels,
    defaultSchedule: 'normal',
    callsPerStep: 2,
    takesTimesteps: true,
  },
  {
    name: 'ddim',
    label: 'DDIM',
    diffusers: 'DDIMScheduler',
    aliases: [],
    schedules: spacings,
    defaultSchedule: 'leading',
    defaultEta: 0,
  },
  {
    name: 'pndm',
    label: 'PLMS',
    diffusers: 'PNDMScheduler',
    aliases: ['pndm'],
    schedules: spacings,
    defaultSchedule: 'leading',
  },
  {
    name: 'lms',
    label: 'LMS',
    diffusers: 'LMSDiscreteScheduler',
    aliases: ['k_lms', 'sample_lms'],
    schedules: spacingsAndLevels,
    defaultSchedule: 'normal',
  },
  {
    name: 'unipc',
    label: 'UniPC',
    diffusers: 'UniPCMultistepScheduler',
    aliases: ['uni_pc', 'uni_pc_bh2'],
    schedules: spacingsAndLevels,
    defaultSchedule: 'normal',
  },
  {
    name: 'lcm',
    label: 'LCM',
    diffusers: 'LCMScheduler',
    aliases: ['k_lcm'],
    schedules: ['sgm_uniform'],
    defaultSchedule: 'sgm_uniform',
    maximumSteps: 50,
    takesTimesteps: true,
  },
  {
    name: 'tcd',
    label: 'TCD',
    diffusers: 'TCDScheduler',
    aliases: ['k_tcd', 'tcd_sampler'],
    schedules: ['sgm_uniform'],
    defaultSchedule: 'sgm_uniform',
    maximumSteps: 50,
    defaultEta: 0.3,
    takesTimesteps: true,
  },
]

/** AUTOMATIC1111's labels, of those that it has. */
export const scheduleLabels: Readonly<Record<Schedule, string>> = {
  karras: 'Karras',
  exponential: 'Exponential',
  normal: 'Normal',
  sgm_uniform: 'SGM Uniform',
  beta: 'Beta',
  leading: 'Leading',
  lu: 'Lu',
}

/** AUTOMATIC1111's `Uniform` is k-diffusion's get_sigmas: evenly spaced timesteps, both ends included. */
const scheduleAliases: ReadonlyMap<string, Schedule | 'automatic'> = new Map([
  ['automatic', 'automatic'],
  ['uniform', 'normal'],
  ['linspace', 'normal'],
  ['trailing', 'sgm_uniform'],
  ['ka', 'karras'],
  ['exp', 'exponential'],
  ['usekarrassigmas', 'karras'],
  ['useexponentialsigmas', 'exponential'],
  ['usebetasigmas', 'beta'],
  ['uselulambdas', 'lu'],
])

export interface ParsedSampler {
  readonly sampler: SamplerName
  /** Set if the name includes it: `DPM++ 2M Karras`, `k_dpmpp_2m_ka`. The sampler may not offer it. */
  readonly schedule?: Schedule
}

/** A sampler by our name, AUTOMATIC1111's or diffusers'. Undefined if no sampler has that name. */
export function parseSamplerName(text: string): ParsedSampler | undefined {
  const sampler = samplerCalled(text)
  if (sampler) return { sampler }
  const words = text.trim().split(/[\s_]+/)
  // `Euler SGM Uniform` ends in a schedule of two words
  for (const length of [2, 1]) {
    const first = samplerCalled(words.slice(0, -length).join(' '))
    const schedule = parseScheduleName(words.slice(-length).join(' '))
    if (first && schedule) return schedule === 'automatic' ? { sampler: first } : { sampler: first, schedule }
  }
  return undefined
}

/** `automatic` means the sampler's default. Undefined if no schedule has that name. */
export function parseScheduleName(text: string): Schedule | 'automatic' | undefined {
  const wanted = plain(text)
  return schedules.find((schedule) => plain(schedule) === wanted) ?? scheduleAliases.get(wanted)
}

/** The entry of a sampler. */
export function samplerEntry(name: SamplerName): SamplerEntry {
  return samplerCatalog[samplers.indexOf(name)] as SamplerEntry
}

function samplerCalled(text: string): SamplerName | undefined {
  const wanted = plain(text)
  return samplerCatalog.find(({ name, label, diffusers, aliases }) =>
    [name, label, diffusers, diffusers.replace(/Scheduler$/, ''), ...aliases].some(
      (each) => plain(each) === wanted,
    ),
  )?.name
}

function plain(text: string): string {
  return text
    .toLowerCase()
    .replace(/[\s_-]/g, '')
    .replace(/\+\+/g, 'pp')
}
