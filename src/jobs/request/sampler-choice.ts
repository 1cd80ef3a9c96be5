import type { Blame } from '../errors.ts'
import type { JobRequest } from '../fields.ts'
import type { ResolvedRequest } from '../job.ts'
import type { ModelInfo, SamplerNames } from '../offer.ts'
import { describeValue, listed } from '../wording.ts'
import { resolveEta, resolveTimesteps } from './few-steps.ts'

type Asked = Pick<JobRequest, 'sampler' | 'schedule' | 'steps' | 'eta' | 'timesteps'>

export type SamplerChoice = Pick<ResolvedRequest, 'sampler' | 'schedule' | 'steps' | 'eta' | 'timesteps'>

/**
 * The sampler, schedule and steps that a request asks for, by our names or other programs'. The defaults are
 * the model's first sampler and steps, and the sampler's own schedule. A fault is passed to `blame`, and a default is
 * returned.
 */
export function resolveSampler(
  asked: Asked,
  model: ModelInfo,
  names: SamplerNames,
  blame: Blame,
): SamplerChoice {
  const offered = names.of(model)
  const [first] = offered
  if (first === undefined) throw new Error('a model without a sampler cannot make pictures')
  const named = asked.sampler === undefined ? { sampler: first.name } : names.parse(asked.sampler)
  const sampler = offered.find((each) => each.name === named?.sampler)
  if (named === undefined || sampler === undefined) {
    const all = offered.map(({ name }) => name)
    blame('sampler', `sampler must be one of ${listed(all)}, but was ${describeValue(asked.sampler)}.`)
    return { sampler: first.name, schedule: first.default_schedule, steps: asked.steps ?? model.steps }
  }
  const wanted = asked.schedule === undefined ? undefined : scheduleOf(asked.schedule)
  const { max_steps: most = Number.POSITIVE_INFINITY } = sampler
  const eta = resolveEta(asked, sampler, offered, blame)
  const { steps: counted, ...timesteps } = resolveTimesteps(asked, sampler, offered, blame)
  const steps = counted ?? asked.steps ?? Math.min(model.steps, most)
  if (steps > most && counted === undefined)
    blame('steps', `steps must be at most ${most} with the sampler ${sampler.name}, but was ${steps}.`)
  const result = { sampler: sampler.name, schedule: sampler.default_schedule, steps, ...eta, ...timesteps }
  if (counted !== undefined) {
    // diffusers starts such a run as one that is evenly spaced
    const even = sampler.schedules.includes('normal') ? 'normal' : sampler.default_schedule
    return { ...result, schedule: even }
  }
  if (named.schedule !== undefined && wanted !== undefined && wanted !== named.schedule) {
    const said = `sampler (${describeValue(asked.sampler)}) already specifies ${named.schedule}`
    blame(
      'schedule',
      `schedule must be absent or ${named.schedule}: ${said}; it was ${describeValue(asked.schedule)}.`,
    )
    return result
  }
  const schedule = wanted ?? named.schedule
  if (schedule === undefined) return result
  if (sampler.schedules.includes(schedule)) return { ...result, schedule }
  const given =
    asked.schedule === undefined
      ? `the ${schedule} of ${describeValue(asked.sampler)}`
      : describeValue(asked.schedule)
  const [param, rule] = asked.schedule === undefined ? ['sampler', 'The schedule'] : ['schedule', 'schedule']
  blame(
    param,
    `${rule} must be one of ${listed(sampler.schedules)} with the sampler ${sampler.name}, but was ${given}.`,
  )
  return result

  /** An unknown name stays as it is: it is in no sampler's list. */
  function scheduleOf(text: string): string | undefined {
    const schedule = names.parseSchedule(text) ?? text
    return schedule === 'automatic' ? undefined : schedule
  }
}
