import { type DdimOptions, ddim } from '../../src/diffusion/samplers/ddim.ts'
import { alphaOf, denoisePreserving } from '../../src/diffusion/samplers/noise-forms.ts'
import { type PndmOptions, pndm, transfer } from '../../src/diffusion/samplers/pndm.ts'
import type { Sampler } from '../../src/diffusion/samplers/sampler.ts'
import type { Levels } from '../../src/diffusion/samplers/schedules.ts'

/**
 * What diffusers' own scheduler tests switch on and no latent diffusion model uses, around the samplers as they are: so
 * the expected sums of those tests hold for what they share with the engine.
 */

/**
 * Dynamic thresholding of the denoised sample, https://arxiv.org/abs/2205.11487 section 2.3: the sampler is given the
 * prediction of noise that implies the limited one.
 */
export function thresholded(
  sampler: Sampler,
  { sigmas }: Levels,
  { ratio, maximum }: { readonly ratio: number; readonly maximum: number },
): Sampler {
  return {
    ...sampler,
    step(prediction, index, sample) {
      const sigma = sigmas[index] as number
      const alpha = alphaOf(sigma)
      const denoised = denoisePreserving('epsilon', prediction, sample, alpha, sigma * alpha)
      const sorted = denoised.map(Math.abs).sort()
      const position = ratio * (sorted.length - 1)
      const low = Math.floor(position)
      const [a, b] = [sorted[low]!, sorted[Math.min(low + 1, sorted.length - 1)]!]
      const limit = Math.min(Math.max(a + (position - low) * (b - a), 1), maximum)
      const limited = denoised.map((value) => Math.min(Math.max(value, -limit), limit) / limit)
      const implied = sample.map((value, i) => (value - alpha * limited[i]!) / (sigma * alpha))
      return sampler.step(implied, index, sample)
    },
  }
}

/** DDIM with `clip_sample`: the denoised sample is limited to -1 to 1, the noise is what was predicted. */
export function clippedDdim(timesteps: Float64Array, options: DdimOptions): Sampler {
  const { alphas, steps, finalAlpha, prediction: kind } = options
  const sampler = ddim(timesteps, options)
  const stride = Math.floor(alphas.length / steps)
  return {
    ...sampler,
    step(prediction, index, sample) {
      const timestep = timesteps[index] as number
      const abar = alphas[timestep] as number
      const next = timestep >= stride ? (alphas[timestep - stride] as number) : finalAlpha
      const denoised = denoisePreserving(kind, prediction, sample, Math.sqrt(abar), Math.sqrt(1 - abar))
      const unclipped = sampler.step(prediction, index, sample)
      return unclipped.map((value, i) => {
        return value + Math.sqrt(next) * (Math.min(Math.max(denoised[i]!, -1), 1) - denoised[i]!)
      })
    },
  }
}

const warmUpSteps = 3
/** Weights of the four predictions of a Runge-Kutta step. */
const weights = [1 / 6, 1 / 3, 1 / 3, 1 / 6]

/**
 * PNDM without `skip_prk_steps`: the first three steps take four calls each by the Runge-Kutta method
 * (https://arxiv.org/abs/2202.09778 formula 13), and what they found stands in the history of those that follow.
 */
export function pndmWithWarmUp(spaced: Float64Array, options: PndmOptions): Sampler {
  const sampler = pndm(spaced, { ...options, begin: 0 })
  const stride = Math.floor(options.alphas.length / options.steps)
  const warmUp = Float64Array.from({ length: 4 * warmUpSteps }, (_, call) => {
    const [step, quarter] = [call >> 2, call % 4]
    const next = spaced[step + 1] as number
    if (quarter === 0) return spaced[step] as number
    return quarter === 3 ? next : next + Math.floor(stride / 2)
  })
  let mean = new Float64Array()
  let start = new Float32Array()
  return {
    ...sampler,
    timesteps: Float64Array.of(...warmUp, ...spaced.subarray(warmUpSteps)),
    step(prediction, index, sample) {
      const call = index - options.begin
      // the sampler's own second call is the repeated one
      if (call >= warmUp.length)
        return sampler.step(prediction, call - warmUp.length + warmUpSteps + 1, sample)
      const quarter = call % 4
      if (quarter === 0) {
        const step = call / 4
        sampler.step(prediction, step === 0 ? 0 : step + 1, sample)
        start = Float32Array.from(sample)
        mean = new Float64Array(sample.length)
      }
      mean = mean.map((value, i) => value + (weights[quarter] as number) * prediction[i]!)
      const back = call % 2 === 1 ? 0 : Math.floor(stride / 2)
      const to = (warmUp[call] as number) - back
      return transfer(start, warmUp[call - quarter] as number, to, quarter === 3 ? mean : prediction, options)
    },
  }
}
