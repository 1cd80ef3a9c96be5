import assert from 'node:assert/strict'
import { test } from 'node:test'
import { samplerCatalog } from '../../src/diffusion/samplers/catalog.ts'
import { createSampler } from '../../src/diffusion/samplers/create-sampler.ts'
import { betaQuantile } from '../../src/diffusion/samplers/incomplete-beta.ts'
import { relativeError } from './golden.ts'
import { loadSchedulerGolden, rows, sd15Noise } from './parity-rows/samplers.ts'

/** Timesteps are exact where they are integers; the fractional ones are float32 in diffusers. */
const timestepTolerance = 1e-6

/** A timestep that is 1 off moves a sum by 1 at least; float32 moves it by less than this. */
const sumTolerance = 0.2

const golden = loadSchedulerGolden()
const noNoise = () => {
  throw new Error('levels need no noise')
}

test('the golden numbers hold every sampler with every schedule', () => {
  const expected = samplerCatalog.flatMap(({ name, schedules }) => schedules.map((each) => `${name} ${each}`))
  const present = new Set(golden.runs.map(({ sampler, schedule }) => `${sampler} ${schedule}`))
  assert.deepEqual([...present].sort(), expected.sort())
})

for (const { sampler: name, schedule, steps, timesteps, initial_scale } of golden.levels) {
  test(`levels equal diffusers: ${name} ${schedule}, ${steps} steps`, () => {
    const sampler = createSampler({ sampler: name, schedule, steps, noise: sd15Noise() }, noNoise)
    assertTimesteps(sampler.timesteps, timesteps)
    assert.ok(relativeError([sampler.initialScale], [initial_scale]) < timestepTolerance)
  })
}

for (const { sampler: name, schedule, sums } of golden.timestep_sums) {
  test(`timesteps equal diffusers for 1 to ${sums.length} steps: ${name} ${schedule}`, () => {
    const actual = sums.map((_, i) => {
      const { timesteps } = createSampler(
        { sampler: name, schedule, steps: i + 1, noise: sd15Noise() },
        noNoise,
      )
      return timesteps.reduce((sum, t, place) => sum + (place + 1) * t, 0)
    })
    for (const [i, sum] of sums.entries()) {
      const apart = Math.abs((actual[i] as number) - sum)
      assert.ok(apart < sumTolerance, `${i + 1} steps: the sums are ${apart} apart`)
    }
  })
}

test('every sampler with every schedule walks as diffusers does', async (t) => {
  for await (const { row, difference, limit } of rows()) {
    await t.test(row, () => assert.ok(difference <= limit, `relative error ${difference}`))
  }
})

test('beta quantiles equal scipy', () => {
  for (const [p, a, b, x] of golden.beta_quantiles) {
    const error = Math.abs(betaQuantile(p, a, b) - x) / x
    assert.ok(error < 1e-12, `p ${p} a ${a} b ${b}: relative error ${error}`)
  }
  assert.deepEqual([betaQuantile(0, 0.6, 0.6), betaQuantile(1, 0.6, 0.6)], [0, 1])
})

function assertTimesteps(actual: ArrayLike<number>, expected: readonly number[], what = ''): void {
  if (expected.every(Number.isInteger)) assert.deepEqual(Array.from(actual), expected, what)
  else assert.ok(relativeError(actual, expected) < timestepTolerance, what)
}
