import { denoisePreserving, type Prediction } from './noise-forms.ts'
import type { Sampler } from './sampler.ts'

/**
 * The finished sample as a prediction sees it in the middle of a run: what would be left if all noise that it predicts
 * were taken away at once. A solver's level is read off its `addNoise`, which is linear in sample and noise, so it is the
 * same for all of them. For the first call of a step only: in between, a second-order solver may be at a level of its own.
 * @param sample as it was before `scaleInput`
 */
export function estimateClean(
  sampler: Sampler,
  kind: Prediction,
  { prediction, sample, index }: { prediction: Float32Array; sample: Float32Array; index: number },
): Float32Array {
  const [one, none] = [Float32Array.of(1), Float32Array.of(0)]
  const clean = sampler.addNoise(one, none, index)[0] as number
  const noise = sampler.addNoise(none, one, index)[0] as number
  const scale = 1 / Math.hypot(clean, noise)
  const preserving = sample.map((value) => value * scale)
  return Float32Array.from(denoisePreserving(kind, prediction, preserving, clean * scale, noise * scale))
}

/**
 * The calls after which to look at a run of the calls from `begin` to `end`, so many times at even distances, and never
 * after the last: fewer where a run is short.
 */
export function callsToShow(
  { begin, end, callsPerStep }: { begin: number; end: number; callsPerStep: number },
  count: number,
): ReadonlySet<number> {
  const calls = end - begin
  const done = Array.from({ length: count }, (_, n) => Math.floor((calls * (n + 1)) / (count + 1)))
  const shown = done.filter((each) => each >= 1 && each < calls).map((each) => each - 1)
  return new Set(shown.map((each) => begin + each - (each % callsPerStep)))
}
