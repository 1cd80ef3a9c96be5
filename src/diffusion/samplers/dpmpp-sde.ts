import { addNoiseExploding, alphaOf, denoiseExploding, type Prediction } from './noise-forms.ts'
import type { Sampler } from './sampler.ts'
import { doubled, type ScaledLevels, sigmaToTimestep } from './schedules.ts'

/**
 * DPM-Solver++ (stochastic, single step, second order; k-diffusion's sample_dpmpp_sde with r 1/2 and eta 1), as in
 * diffusers' DPMSolverSDEScheduler. Calls with an even index go to the middle of the step in log sigma, those with
 * an odd index go from the start of the step to its end with the prediction at the middle; the last step is an Euler
 * step. Image-to-image begins at an even index.
 *
 * Equal to diffusers except for the noise: there it comes from torchsde's Brownian tree with its own seed, here from
 * `noise`. In both, the two halves of a step share one Brownian path in sigma: the noise of the whole step is the
 * weighted sum of its parts' noise.
 */
export interface DpmppSdeOptions {
  readonly prediction: Prediction
  /** Sigmas of all training timesteps, rising. */
  readonly training: Float64Array
  /** Fresh unit noise of the sample's size; two draws per step, none in the last. */
  readonly noise: () => Float32Array
}

export function dpmppSde(
  levels: ScaledLevels,
  { prediction: kind, training, noise }: DpmppSdeOptions,
): Sampler {
  // diffusers keeps the levels in float32, but computes the timesteps of the middles before rounding them
  const sigmas = Float64Array.from([...levels.sigmas, 0], Math.fround)
  const middles = (of: Float64Array) =>
    of.subarray(0, -1).map((sigma, i) => Math.sqrt(sigma * (of[i + 1] as number)))
  const middleOf = middles(sigmas)
  const timesteps = doubled(levels.timesteps)
  for (const [i, t] of sigmaToTimestep(middles(levels.sigmas), training).entries()) timesteps[2 * i + 1] = t
  const inputLevel = (index: number) => (index % 2 === 0 ? sigmas : middleOf)[index >> 1] as number
  let start: { readonly sample: Float32Array; readonly noise: Float32Array } | undefined

  return {
    timesteps,
    initialScale: levels.initialScale,
    scaleInput: (index) => alphaOf(inputLevel(index)),
    step(prediction, index, sample) {
      const [sigma, next] = [sigmas[index >> 1] as number, sigmas[(index >> 1) + 1] as number]
      const denoised = denoiseExploding(kind, prediction, sample, inputLevel(index))
      if (next === 0) return Float32Array.from(denoised)
      const middle = middleOf[index >> 1] as number
      const fresh = noise()
      if (index % 2 === 0) {
        start = { sample, noise: fresh }
        return ancestralStep(sample, denoised, fresh, sigma, middle)
      }
      if (!start) throw new Error(`call ${index} came without call ${index - 1}`)
      const first = start.noise
      const [a, b] = [
        Math.sqrt((sigma - middle) / (sigma - next)),
        Math.sqrt((middle - next) / (sigma - next)),
      ]
      const whole = fresh.map((value, i) => a * first[i]! + b * value)
      return ancestralStep(start.sample, denoised, whole, sigma, next)
    },
    // in diffusers the second call of a step counts as the next level
    addNoise: (clean, noise, index) =>
      addNoiseExploding(clean, noise, sigmas[Math.ceil(index / 2)] as number),
  }
}

/** From `sigma` to below `next` along the denoised sample, and back up to `next` with noise. */
function ancestralStep(
  sample: Float32Array,
  denoised: Float64Array,
  noise: Float32Array,
  sigma: number,
  next: number,
): Float32Array {
  const up = Math.min(next, (next * Math.sqrt((sigma - next) * (sigma + next))) / sigma)
  const part = (next * next) / sigma / sigma
  return sample.map((value, i) => part * value + (1 - part) * denoised[i]! + up * noise[i]!)
}
