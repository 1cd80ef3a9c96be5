import { addNoiseExploding, alphaOf, denoiseExploding, type Prediction } from './noise-forms.ts'
import type { Sampler } from './sampler.ts'
import { doubled, type ScaledLevels } from './schedules.ts'

/**
 * Heun's method, https://arxiv.org/abs/2206.00364 algorithm 1, as in diffusers' HeunDiscreteScheduler. Calls with an
 * even index go to the next level by Euler's method, those with an odd index evaluate the slope there and repeat the
 * step from its start with the mean of both slopes; the last step has the first call only. Image-to-image begins at an
 * even index.
 */
export function heun(levels: ScaledLevels, kind: Prediction): Sampler {
  // diffusers keeps the levels in float32
  const sigmas = Float64Array.from([...levels.sigmas, 0], Math.fround)
  const levelOf = (index: number) => sigmas[Math.ceil(index / 2)] as number
  let start: { readonly sample: Float32Array; readonly slope: Float64Array } | undefined

  return {
    timesteps: doubled(levels.timesteps),
    initialScale: levels.initialScale,
    scaleInput: (index) => alphaOf(levelOf(index)),
    step(prediction, index, sample) {
      const sigma = levelOf(index)
      const denoised = denoiseExploding(kind, prediction, sample, sigma)
      const slope = denoised.map((clean, i) => (sample[i]! - clean) / sigma)
      if (index % 2 === 0) {
        start = { sample, slope }
        const distance = levelOf(index + 1) - sigma
        return sample.map((value, i) => value + slope[i]! * distance)
      }
      if (!start) throw new Error(`call ${index} came without call ${index - 1}`)
      const from = start
      const distance = sigma - levelOf(index - 1)
      return from.sample.map((value, i) => value + ((from.slope[i]! + slope[i]!) / 2) * distance)
    },
    addNoise: (clean, noise, index) => addNoiseExploding(clean, noise, levelOf(index)),
  }
}
