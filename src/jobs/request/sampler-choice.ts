import type { Blame } from '../errors.ts'
import type { ModelInfo, SamplerNames } from '../offer.ts'
import { describeValue, listed } from '../wording.ts'

interface Asked {
  readonly sampler?: string
  readonly schedule?: string
  readonly steps?: number
}

export interface SamplerChoice {
  readonly sampler: string
  readonly schedule: string
  readonly steps: number
}

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
  const steps = asked.steps ?? Math.min(model.steps, most)
  if (steps > most)
    blame('steps', `steps must be at most ${most} with the sampler ${sampler.name}, but was ${steps}.`)
  const result = { sampler: sampler.name, schedule: sampler.default_schedule, steps }
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
