import assert from 'node:assert/strict'
import { test } from 'node:test'
import { TorchGenerator } from '../random/torch-normal.ts'
import { samplerCatalog } from './catalog.ts'
import { beginIndex, createSampler } from './create-sampler.ts'

const noise = {
  num_train_timesteps: 1000,
  beta_start: 0.00085,
  beta_end: 0.012,
  beta_schedule: 'scaled_linear',
  prediction_type: 'epsilon',
} as const

function randn(count = 16): () => Float32Array {
  const generator = new TorchGenerator(3)
  return () => generator.randn(count)
}

test('a schedule that the sampler lacks is refused with those that it has', () => {
  assert.throws(() => createSampler({ sampler: 'ddim', schedule: 'karras', steps: 20, noise }, randn()), {
    name: 'RangeError',
    message: 'ddim does not offer the schedule karras; it offers normal, sgm_uniform, leading',
  })
})

test('steps out of range are refused', () => {
  for (const [sampler, schedule, steps] of [
    ['lcm', 'sgm_uniform', 51],
    ['euler', 'normal', 0],
    ['euler', 'normal', Number.NaN],
  ] as const) {
    assert.throws(() => createSampler({ sampler, schedule, steps, noise }, randn()), RangeError)
  }
})

test('image-to-image begins where diffusers does', () => {
  for (const [sampler, steps, strength, begin] of [
    ['euler', 20, 0.4, 12],
    ['heun', 20, 0.4, 24],
    ['dpmpp_sde', 20, 0.4, 24],
    ['pndm', 20, 0.4, 12],
    ['euler', 100, 0.29, 72],
    ['euler', 20, 0.3, 14],
    ['euler', 10, 0.75, 3],
    ['euler', 30, 0.7, 9],
    ['euler', 1, 1, 0],
    ['euler', 20, 1, 0],
  ] as const) {
    assert.equal(beginIndex(sampler, steps, strength), begin, `${sampler} ${steps} ${strength}`)
  }
})

test('a strength that leaves no step, or is out of range, is refused', () => {
  assert.throws(() => beginIndex('euler', 10, 0.05), {
    name: 'RangeError',
    message: /strength 0\.05 leaves none of 10 steps/,
  })
  for (const strength of [0, -0.1, 1.01, Number.NaN]) {
    assert.throws(() => beginIndex('euler', 10, strength), {
      name: 'RangeError',
      message: /above 0 and at most 1/,
    })
  }
})

for (const { name, schedules, maximumSteps = 100 } of samplerCatalog) {
  test(`${name} stays finite from 1 to ${maximumSteps} steps with every schedule`, () => {
    for (const schedule of schedules) {
      for (const steps of [1, 2, 3, 4, 7, 15, 50, maximumSteps]) {
        const sampler = createSampler({ sampler: name, schedule, steps, noise }, randn())
        let sample: Float32Array = randn()().map((value) => value * sampler.initialScale)
        for (const [index, t] of sampler.timesteps.entries()) {
          assert.ok(t >= 0 && t < 1000, `timestep ${t}`)
          const scale = sampler.scaleInput(index)
          const prediction = sample.map((value) => value * scale * 0.5)
          sample = sampler.step(prediction, index, sample)
        }
        assert.ok(sample.every(Number.isFinite), `${schedule}, ${steps} steps`)
      }
    }
  })
}

test('an eta or timesteps that the sampler does not take are refused', () => {
  const made = (more: Partial<Parameters<typeof createSampler>[0]>) =>
    createSampler({ sampler: 'tcd', schedule: 'sgm_uniform', steps: 2, noise, ...more }, randn())
  for (const more of [
    { eta: -0.1 },
    { eta: Number.NaN },
    { eta: 1.01 },
    { sampler: 'lcm', eta: 0.3 },
    { sampler: 'ddim', timesteps: [999, 0] },
    { timesteps: [999] },
    { timesteps: [999, 999] },
    { timesteps: [1000, 0] },
    { timesteps: [5, -1] },
    { timesteps: [5.5, 1] },
    { steps: 51 },
  ] as const) {
    assert.throws(() => made(more), RangeError, JSON.stringify(more))
  }
  assert.deepEqual([...made({ timesteps: [800, 0] }).timesteps], [800, 0])
})

test('a sampler of noise draws what diffusers draws: for every step, in the last of lcm, tcd and dpmpp_sde none', () => {
  const draws = (sampler: 'euler_ancestral' | 'dpmpp_2m_sde' | 'dpmpp_sde' | 'lcm' | 'tcd', eta?: number) => {
    let count = 0
    const each = randn()
    const made = createSampler({ sampler, schedule: 'sgm_uniform', steps: 5, noise, eta }, () => {
      count += 1
      return each()
    })
    let sample = randn()()
    for (const index of made.timesteps.keys()) sample = made.step(sample, index, sample)
    return count
  }
  assert.equal(draws('euler_ancestral'), 5)
  assert.equal(draws('dpmpp_2m_sde'), 5)
  assert.equal(draws('dpmpp_sde'), 8)
  assert.equal(draws('lcm'), 4)
  assert.equal(draws('tcd'), 4)
  assert.equal(draws('tcd', 0), 0)
})

test('the noise of a whole dpmpp_sde step has the variance of its level', () => {
  const count = 4096
  const each = randn(count)
  const sampler = createSampler({ sampler: 'dpmpp_sde', schedule: 'karras', steps: 5, noise }, each)
  // a model that says "clean is zero" leaves the noise alone: prediction = sample / sigma
  let sample: Float32Array = each().map((value) => value * sampler.initialScale)
  const sigmaOf = (index: number) => Math.sqrt(1 / sampler.scaleInput(index) ** 2 - 1)
  for (const index of [0, 1]) {
    const sigma = sigmaOf(index)
    sample = sampler.step(
      sample.map((value) => value / sigma),
      index,
      sample,
    )
  }
  const deviation = Math.sqrt(sample.reduce((sum, value) => sum + value * value, 0) / count)
  assert.ok(Math.abs(deviation / sigmaOf(2) - 1) < 0.05, `${deviation} at level ${sigmaOf(2)}`)
})
