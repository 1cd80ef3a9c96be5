import type { Offer, SamplerInfo } from '../../jobs/offer.ts'

/** What a server knows of its speed, for the estimate on the button. */
export interface Pace {
  /** Jobs that wait now. */
  readonly waiting: number
  /** Seconds for one unit of work, see `work.ts`; undefined before the first measurement. */
  readonly secondsPerUnit: number | undefined
}

/** The facts of a form that decide how long its pictures take. */
export interface Asked {
  readonly width: number
  readonly height: number
  readonly steps: number
  readonly guidance_scale: number
  readonly count: number
}

/** The words on the button: how many pictures, and how long they take once it is their turn. form.js has the same words. */
export function shutterWords(
  asked: Asked,
  sampler: Pick<SamplerInfo, 'calls_per_step'> | undefined,
  { secondsPerUnit }: Pace,
): { readonly action: string; readonly time: string } {
  const action = asked.count === 1 ? 'Take the picture' : `Take ${asked.count} pictures`
  if (secondsPerUnit === undefined) return { action, time: '' }
  return { action, time: roughly(unitsOf(asked, sampler?.calls_per_step ?? 1) * secondsPerUnit) }
}

/** As `workUnits` in work.ts, of what a form tells. */
function unitsOf({ width, height, steps, guidance_scale, count }: Asked, callsPerStep: number): number {
  const guided = guidance_scale > 1 ? 2 : 1
  return (count * steps * callsPerStep * guided * width * height) / 1e6
}

/** "about 9 s". */
function roughly(seconds: number): string {
  if (!Number.isFinite(seconds)) return ''
  if (seconds < 90) return `about ${Math.max(1, Math.round(seconds))} s`
  return seconds < 5400 ? `about ${Math.round(seconds / 60)} min` : `about ${Math.round(seconds / 3600)} h`
}

/** Seconds that a picture of the default model takes of a run, which all workers share; undefined if the speed is not known. */
export function secondsOfPicture(
  { models, samplers }: Pick<Offer, 'models' | 'samplers'>,
  busy: { readonly workers?: number; readonly secondsPerUnit?: number } | undefined,
): number | undefined {
  const [model] = models
  if (model === undefined || busy?.secondsPerUnit === undefined) return undefined
  const [sampler] = samplers.of(model)
  const units = unitsOf({ ...model, count: 1 }, sampler?.calls_per_step ?? 1)
  return (units * busy.secondsPerUnit) / Math.max(1, busy.workers ?? 1)
}
