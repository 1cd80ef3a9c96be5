import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { TorchGenerator } from '../../src/diffusion/random/torch-normal.ts'
import { dpmpp2m } from '../../src/diffusion/samplers/dpmpp-2m.ts'
import { type NoiseConfig, trainingSigmas } from '../../src/diffusion/samplers/noise-levels.ts'
import { type Schedule, spaceLevels } from '../../src/diffusion/samplers/schedules.ts'
import { relativeError } from './golden.ts'

/**
 * scheduler-cases.json holds what diffusers@58eb52c0 (2026-08-23) computes on CPU for the dummy model and the
 * dummy sample of its own tests (tests/schedulers/test_schedulers.py): eps = x * t / (t + 1).
 */
const tolerance = 1e-4

interface Case {
  readonly name: string
  readonly scheduler: string
  readonly config: NoiseConfig & {
    readonly algorithm_type?: string
    readonly use_karras_sigmas?: boolean
    readonly use_lu_lambdas?: boolean
    readonly timestep_spacing?: string
    readonly final_sigmas_type?: string
    readonly lower_order_final?: boolean
    readonly thresholding?: boolean
    readonly dynamic_thresholding_ratio?: number
    readonly sample_max_value?: number
  }
  readonly steps: number
  readonly add_noise_t_start: number | null
  readonly timesteps: readonly number[]
  readonly sigmas: readonly number[]
  readonly result: {
    sum_abs: number
    mean_abs: number
    first8?: readonly number[]
    last4?: readonly number[]
  }
  readonly trajectory_meanabs_and_elem100: readonly (readonly [number, number])[]
}

const { cases } = JSON.parse(readFileSync(join(import.meta.dirname, 'scheduler-cases.json'), 'utf8')) as {
  cases: readonly Case[]
}
const mine = cases.filter(({ scheduler }) => scheduler === 'DPMSolverMultistepScheduler')

test('there are cases', () => assert.ok(mine.length >= 16))

for (const entry of mine) {
  test(entry.name, () => {
    const { config, steps } = entry
    const training = trainingSigmas(config)
    const generator = new TorchGenerator(0)
    const levels = spaceLevels(scheduleOf(config), training, steps)
    assert.deepEqual([...levels.timesteps], entry.timesteps)
    assert.ok(relativeError(levels.sigmas, entry.sigmas.slice(0, -1)) < tolerance)

    const sampler = dpmpp2m(levels, {
      prediction: config.prediction_type ?? 'epsilon',
      finalSigma: config.final_sigmas_type === 'sigma_min' ? (training[0] as number) : 0,
      lowerOrderFinal: config.lower_order_final ?? true,
      ...(config.algorithm_type === 'sde-dpmsolver++' && { noise: () => generator.randn(768) }),
      ...(config.thresholding
        ? { thresholding: { ratio: config.dynamic_thresholding_ratio!, maximum: config.sample_max_value! } }
        : {}),
    })
    const start = entry.add_noise_t_start ?? 0
    let x = dummy((index) => index)
    if (start > 0) {
      const sigma = levels.sigmas[start] as number
      const alpha = 1 / Math.hypot(sigma, 1)
      const noise = dummy((index) => 767 - index)
      x = x.map((value, i) => alpha * value + sigma * alpha * noise[i]!)
    }
    const trajectory: number[][] = []
    for (let index = start; index < steps; index++) {
      const t = levels.timesteps[index] as number
      x = sampler.step(
        x.map((value) => (value * t) / (t + 1)),
        index,
        x,
      )
      trajectory.push([sumAbs(x) / x.length, x[100] as number])
    }
    assert.ok(relativeError(trajectory.flat(), entry.trajectory_meanabs_and_elem100.flat()) < tolerance)
    assert.ok(relativeError([sumAbs(x)], [entry.result.sum_abs]) < tolerance)
  })
}

function scheduleOf({ use_karras_sigmas, use_lu_lambdas, timestep_spacing }: Case['config']): Schedule {
  if (use_karras_sigmas) return 'karras'
  if (use_lu_lambdas) return 'lu'
  return timestep_spacing === 'trailing' ? 'sgm_uniform' : 'normal'
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
