/** A run of the model's calls from `begin` to `end`. */
interface Run {
  readonly begin: number
  readonly end: number
  readonly callsPerStep: number
}

interface Guidance {
  /** 1 or less: none. */
  readonly guidanceScale: number
  /** The part of the steps that has guidance, above 0; absent: all. */
  readonly guidanceEnd?: number | undefined
}

/**
 * How many of a run's first calls have guidance: those of the rounded part of its steps, and of one step at least. The
 * others take the prompt's prediction as it is, https://arxiv.org/abs/2404.07724.
 * @throws RangeError for a part that is none
 */
export function guidedCalls(
  { begin, end, callsPerStep }: Run,
  { guidanceScale, guidanceEnd = 1 }: Guidance,
): number {
  if (!(guidanceEnd > 0 && guidanceEnd <= 1)) {
    throw new RangeError(`guidance must end above 0 and at most at 1, but is ${guidanceEnd}`)
  }
  if (guidanceScale <= 1) return 0
  if (guidanceEnd === 1) return end - begin
  const steps = Math.ceil((end - begin) / callsPerStep)
  return Math.min(end - begin, Math.max(1, Math.round(steps * guidanceEnd)) * callsPerStep)
}
