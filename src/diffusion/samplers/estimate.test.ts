import assert from 'node:assert/strict'
import { test } from 'node:test'
import { TorchGenerator } from '../random/torch-normal.ts'
import { samplerCatalog } from './catalog.ts'
import { createSampler } from './create-sampler.ts'
import { callsToShow, estimateClean } from './estimate.ts'
import { trainingAlphas } from './noise-levels.ts'

const base = {
  num_train_timesteps: 1000,
  beta_start: 0.00085,
  beta_end: 0.012,
  beta_schedule: 'scaled_linear',
} as const

/** The share of the clean sample's variance at a timestep, which may be between two of the training. */
function alphaAt(alphas: Float64Array, timestep: number): number {
  const below = Math.floor(timestep)
  const logSigma = (index: number) => {
    const alpha = alphas[Math.min(index, alphas.length - 1)] as number
    return Math.log((1 - alpha) / alpha) / 2
  }
  const log = logSigma(below) + (timestep - below) * (logSigma(below + 1) - logSigma(below))
  return 1 / (1 + Math.exp(2 * log))
}

/** Predicts without a fault, by what the model sees and the timestep alone. */
function perfect(kind: 'epsilon' | 'v_prediction', clean: Float32Array, alpha: number) {
  const [keep, spread] = [Math.sqrt(alpha), Math.sqrt(1 - alpha)]
  return (input: Float32Array) =>
    input.map((value, i) => {
      const noise = (value - keep * clean[i]!) / spread
      return kind === 'epsilon' ? noise : keep * noise - spread * clean[i]!
    })
}

test('with every solver, and either kind of prediction, the estimate is the sample that the model has in mind', () => {
  const size = 64
  for (const prediction_type of ['epsilon', 'v_prediction'] as const) {
    const noise = { ...base, prediction_type }
    const alphas = trainingAlphas(noise)
    for (const { name, schedules, callsPerStep = 1 } of samplerCatalog) {
      for (const schedule of schedules) {
        const generator = new TorchGenerator(3)
        const clean = generator.randn(size)
        const sampler = createSampler({ sampler: name, schedule, steps: 6, noise }, () =>
          generator.randn(size),
        )
        let sample: Float32Array = generator.randn(size).map((value) => value * sampler.initialScale)
        for (const [index, timestep] of sampler.timesteps.entries()) {
          const scale = sampler.scaleInput(index)
          const prediction = perfect(
            prediction_type,
            clean,
            alphaAt(alphas, timestep),
          )(sample.map((value) => value * scale))
          if (index % callsPerStep === 0) {
            const seen = estimateClean(sampler, prediction_type, { prediction, sample, index })
            const distance = Math.max(...seen.map((value, i) => Math.abs(value - clean[i]!)))
            const what = `${name} ${schedule} ${prediction_type}, call ${index}`
            assert.ok(distance < 0.05, `${what}: the estimate is ${distance} off`)
          }
          sample = sampler.step(prediction, index, sample)
        }
      }
    }
  }
})

test('a run is shown at even distances, at the first call of a step, and never at its end', () => {
  const shown = (begin: number, end: number, count: number, callsPerStep = 1) => [
    ...callsToShow({ begin, end, callsPerStep }, count),
  ]
  assert.deepEqual(shown(0, 20, 3), [4, 9, 14])
  assert.deepEqual(shown(8, 20, 1), [13])
  assert.deepEqual(shown(0, 39, 3, 2), [8, 18, 28])
  assert.deepEqual(shown(0, 2, 3), [0])
  assert.deepEqual(shown(0, 1, 3), [])
  assert.deepEqual(shown(0, 20, 0), [])
})
