import type { Blame } from '../errors.ts'
import type { JobRequest } from '../fields.ts'
import type { ResolvedRequest } from '../job.ts'
import type { SamplerInfo } from '../offer.ts'
import { listed } from '../wording.ts'

/** What a sampler takes besides schedule and steps. Every fault is passed to `blame`. */

/** The eta of a picture; absent where it has no effect. */
export function resolveEta(
  { eta }: Pick<JobRequest, 'eta'>,
  sampler: SamplerInfo,
  offered: readonly SamplerInfo[],
  blame: Blame,
): Pick<ResolvedRequest, 'eta'> {
  if (sampler.default_eta === undefined) {
    const names = offered.flatMap(({ name, default_eta }) => (default_eta === undefined ? [] : [name]))
    if (eta !== undefined)
      blame('eta', `eta requires one of the samplers ${listed(names)}, but the sampler is ${sampler.name}.`)
    return {}
  }
  const decided = eta ?? sampler.default_eta
  // without a default of its own a sampler is as it was before there was an eta
  return decided === 0 && sampler.default_eta === 0 ? {} : { eta: decided }
}

/** The explicit timesteps of a picture, and how many steps they are. */
export function resolveTimesteps(
  asked: Pick<JobRequest, 'timesteps' | 'steps' | 'schedule'>,
  sampler: SamplerInfo,
  offered: readonly SamplerInfo[],
  blame: Blame,
): Pick<ResolvedRequest, 'timesteps'> & { readonly steps?: number } {
  const { timesteps, steps, schedule } = asked
  if (timesteps === undefined) return {}
  if (sampler.takes_timesteps !== true) {
    const names = offered.flatMap(({ name, takes_timesteps }) => (takes_timesteps === true ? [name] : []))
    blame(
      'timesteps',
      `timesteps requires one of the samplers ${listed(names)}, but the sampler is ${sampler.name}.`,
    )
    return {}
  }
  const rising = timesteps.findIndex((t, i) => i > 0 && t >= (timesteps[i - 1] as number))
  if (rising >= 0) {
    const pair = `${timesteps[rising - 1]} is followed by ${timesteps[rising]}`
    blame('timesteps', `timesteps must fall from each to the next, but ${pair}.`)
  }
  const most = sampler.max_steps ?? timesteps.length
  if (timesteps.length > most) {
    blame('timesteps', `timesteps must be at most ${most} with the sampler ${sampler.name}.`)
  }
  if (steps !== undefined && steps !== timesteps.length) {
    blame('steps', `steps must be absent or ${timesteps.length}, the number of timesteps, but was ${steps}.`)
  }
  if (schedule !== undefined) blame('schedule', 'schedule must be absent: timesteps take its place.')
  return { timesteps, steps: timesteps.length }
}

/** The part of the steps with guidance; absent where all have it, or none. */
export function resolveGuidanceEnd(
  { guidance_end }: Pick<JobRequest, 'guidance_end'>,
  guidanceScale: number,
): Pick<ResolvedRequest, 'guidance_end'> {
  const whole = guidance_end === undefined || guidance_end === 1 || guidanceScale <= 1
  return whole ? {} : { guidance_end }
}
