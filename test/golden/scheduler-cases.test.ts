import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { dpmpp2m } from '../../src/diffusion/samplers/dpmpp-2m.ts'
import type { Sampler } from '../../src/diffusion/samplers/sampler.ts'
import { relativeError } from './golden.ts'
import { type SchedulerConfig, samplerFromConfig } from './scheduler-config.ts'
import { type UpstreamCase, upstreamCases } from './scheduler-upstream.ts'

/**
 * scheduler-cases.json holds what diffusers@58eb52c0 (2026-08-23) computes on CPU for the dummy model and the
 * dummy sample of its own tests (tests/schedulers/test_schedulers.py): eps = x * t / (t + 1).
 */
const tolerance = 1e-4

interface Case {
  readonly name: string
  readonly scheduler: string
  readonly config: SchedulerConfig
  readonly steps: number
  readonly init_noise_sigma: number
  readonly add_noise_t_start: number | null
  readonly timesteps: readonly number[]
  readonly result: { readonly sum_abs: number }
  readonly trajectory_meanabs_and_elem100: readonly (readonly [number, number])[]
}

interface KDiffusionCase {
  readonly quantize: boolean
  readonly steps: number
  readonly sigmas: readonly number[]
  readonly timesteps: readonly number[]
  readonly result: { readonly sum_abs: number }
  readonly trajectory_meanabs_and_elem100: readonly (readonly [number, number])[]
}

const { cases, kdiffusion_dpmpp_2m_karras: kDiffusionCases } = JSON.parse(
  readFileSync(join(import.meta.dirname, 'scheduler-cases.json'), 'utf8'),
) as { cases: readonly Case[]; kdiffusion_dpmpp_2m_karras: readonly KDiffusionCase[] }

for (const entry of cases) {
  test(entry.name, () => {
    const { scheduler, config, steps, add_noise_t_start: start } = entry
    const sampler = samplerFromConfig(scheduler, config, steps, start ?? 0)
    assert.ok(relativeError(sampler.timesteps, entry.timesteps) < 1e-6, 'timesteps')
    assert.ok(Math.abs(sampler.initialScale / entry.init_noise_sigma - 1) < 1e-6, 'initial scale')
    const { sample, trajectory } = walk(sampler, begin(scheduler, start ?? 0))
    const error = relativeError(trajectory.flat(), entry.trajectory_meanabs_and_elem100.flat())
    assert.ok(error < tolerance, `trajectory: relative error ${error}`)
    // the sums of Euler and Heun end near zero, where float32 cancels
    const apart = Math.abs(sumAbs(sample) - entry.result.sum_abs)
    assert.ok(apart < tolerance * Math.max(entry.result.sum_abs, 100), `sum: ${apart} apart`)
  })
}

/** What diffusers' own tests ask of its schedulers, within the tolerances that they have. */
for (const entry of upstreamCases) {
  test(`diffusers' own test: ${entry.name}`, () => assertUpstream(entry))
}

function assertUpstream({ scheduler, config, steps, start = 0, ...expected }: UpstreamCase): void {
  const sampler = samplerFromConfig(scheduler, config, steps, start)
  const { sample } = walk(sampler, begin(scheduler, start))
  const sum = sumAbs(sample)
  if (expected.sum !== undefined) {
    const apart = Math.abs(sum - expected.sum)
    assert.ok(apart < (expected.sumTolerance ?? 1e-2), `sum ${sum}, expected ${expected.sum}`)
  }
  const mean = sum / sample.length
  assert.ok(Math.abs(mean - expected.mean) < 1e-3, `mean ${mean}, expected ${expected.mean}`)
}

/**
 * k-diffusion's sample_dpmpp_2m on the same dummies. It writes samples as clean + sigma noise; divided by
 * sqrt(sigma^2 + 1) they are ours.
 */
for (const { steps, quantize, sigmas, timesteps, ...expected } of kDiffusionCases) {
  test(`k-diffusion's DPM++ 2M Karras, ${steps} steps${quantize ? ', whole timesteps' : ''}`, () => {
    const levels = { timesteps: Float64Array.from(timesteps), sigmas: Float64Array.from(sigmas.slice(0, -1)) }
    const options = { prediction: 'epsilon', finalSigma: 0, lowerOrderFinal: true } as const
    const first = sigmas[0] as number
    const sampler = { ...dpmpp2m(levels, options), initialScale: first / Math.hypot(first, 1) }
    const { sample, trajectory } = walk(sampler, 0)
    const scaled = trajectory.map((pair, i) => pair.map((value) => value * Math.hypot(sigmas[i + 1]!, 1)))
    const error = relativeError(scaled.flat(), expected.trajectory_meanabs_and_elem100.flat())
    assert.ok(error < tolerance, `trajectory: relative error ${error}`)
    assert.ok(relativeError([sumAbs(sample)], [expected.result.sum_abs]) < tolerance)
  })
}

function begin(scheduler: string, start: number): number {
  return scheduler === 'HeunDiscreteScheduler' ? 2 * start : start
}

/**
 * The full loop of diffusers' tests; begun in the middle, it starts from the noised sample. As there, a step goes on
 * from the scaled sample, and noise is added to one that is scaled already; pipelines do neither.
 */
function walk(sampler: Sampler, from: number): { sample: Float32Array; trajectory: number[][] } {
  const clean = dummy((index) => index).map((value) => value * sampler.initialScale)
  const noise = dummy((index) => 767 - index)
  let sample = from > 0 ? sampler.addNoise(clean, noise, from) : clean
  const trajectory: number[][] = []
  for (let index = from; index < sampler.timesteps.length; index++) {
    const t = sampler.timesteps[index] as number
    const scale = sampler.scaleInput(index)
    const input = sample.map((value) => value * scale)
    sample = sampler.step(
      input.map((value) => (value * t) / (t + 1)),
      index,
      input,
    )
    trajectory.push([sumAbs(sample) / sample.length, sample[100] as number])
  }
  return { sample, trajectory }
}

/** diffusers' dummy_sample_deter: element [b, c, y, x] of (4, 3, 8, 8) counts along b fastest. */
function dummy(order: (index: number) => number): Float32Array {
  return Float32Array.from({ length: 768 }, (_, i) => {
    const [b, rest] = [Math.floor(i / 192), i % 192]
    return order(rest * 4 + b) / 768
  })
}

function sumAbs(values: Float32Array): number {
  return values.reduce((sum, value) => sum + Math.abs(value), 0)
}
