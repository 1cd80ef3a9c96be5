import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { TorchGenerator } from '../../../src/diffusion/random/torch-normal.ts'
import type { SamplerName, Schedule } from '../../../src/diffusion/samplers/catalog.ts'
import { createSampler } from '../../../src/diffusion/samplers/create-sampler.ts'
import type { NoiseConfig } from '../../../src/diffusion/samplers/noise-levels.ts'
import { relativeError } from '../golden.ts'
import type { ParityRow } from './row.ts'

/** Written by scheduler_golden.py; its docstring describes how. */
export interface SchedulerGolden {
  readonly levels: readonly GoldenLevels[]
  readonly timestep_sums: readonly {
    readonly sampler: SamplerName
    readonly schedule: Schedule
    readonly sums: readonly number[]
  }[]
  readonly runs: readonly GoldenRun[]
  /** Few steps, with what only such runs are asked for. */
  readonly few: readonly GoldenRun[]
  /** v prediction with zero terminal SNR. */
  readonly zero_snr: readonly GoldenRun[]
  /** p, a, b, x */
  readonly beta_quantiles: readonly (readonly [number, number, number, number])[]
}

interface GoldenLevels {
  readonly sampler: SamplerName
  readonly schedule: Schedule
  readonly steps: number
  readonly timesteps: readonly number[]
  readonly initial_scale: number
}

interface GoldenRun {
  readonly sampler: SamplerName
  readonly schedule: Schedule
  readonly steps: number
  readonly prediction: NoiseConfig['prediction_type']
  readonly begin: number
  readonly eta?: number
  /** Explicit ones. */
  readonly timesteps?: readonly number[]
  /** The sample before the first step, when the beginning is skipped. */
  readonly start?: readonly number[]
  /** After each call. */
  readonly mean_abs: readonly number[]
  readonly result: readonly number[]
}

const partLimit = 1e-4

/** Euler's first level is 4096 then, and diffusers keeps such a sample in float32: its own rounding is as large. */
const zeroSnrLimit = 5e-4

const count = 32

export function loadSchedulerGolden(): SchedulerGolden {
  return JSON.parse(readFileSync(join(import.meta.dirname, '../scheduler-golden.json'), 'utf8'))
}

export function sd15Noise(prediction: NoiseConfig['prediction_type'] = 'epsilon'): NoiseConfig {
  return {
    num_train_timesteps: 1000,
    beta_start: 0.00085,
    beta_end: 0.012,
    beta_schedule: 'scaled_linear',
    prediction_type: prediction,
  }
}

/** The largest difference of start, course and result to diffusers, relative to the largest value of each. */
function runDifference(golden: GoldenRun, more: Partial<NoiseConfig> = {}): number {
  const { sampler: name, schedule, steps, prediction, begin, start, eta, timesteps } = golden
  const generator = new TorchGenerator(0)
  const randn = () => generator.randn(count)
  const sampler = createSampler(
    { sampler: name, schedule, steps, noise: { ...sd15Noise(prediction), ...more }, begin, eta, timesteps },
    randn,
  )
  const noise = randn()
  let sample = start
    ? sampler.addNoise(evenly(-1, 1), noise, begin)
    : noise.map((value) => value * sampler.initialScale)
  let difference = start ? relativeError(sample, start) : 0
  const course: number[] = []
  for (let index = begin; index < sampler.timesteps.length; index++) {
    const scale = sampler.scaleInput(index)
    const wave = 0.5 * Math.sin((sampler.timesteps[index] as number) / 100)
    sample = sampler.step(
      sample.map((value) => 0.3 * value * scale + wave),
      index,
      sample,
    )
    course.push(sample.reduce((sum, value) => sum + Math.abs(value), 0) / sample.length)
  }
  difference = Math.max(difference, relativeError(course, golden.mean_abs))
  return Math.max(difference, relativeError(sample, golden.result))
}

function evenly(from: number, to: number): Float32Array {
  return Float32Array.from({ length: count }, (_, i) => from + (i / (count - 1)) * (to - from))
}

/** One row for each sampler and schedule: the worst of its runs. */
export async function* rows(): AsyncIterable<ParityRow> {
  const pairs = Map.groupBy(loadSchedulerGolden().runs, ({ sampler, schedule }) => `${sampler} ${schedule}`)
  for (const [row, runs] of pairs) {
    const { sampler, schedule } = runs[0] as GoldenRun
    const note = noteOf(sampler, schedule)
    yield {
      area: 'samplers',
      row,
      measure: 'part',
      difference: Math.max(...runs.map((run) => runDifference(run))),
      limit: partLimit,
      ...(note !== undefined && { note }),
    }
  }
  const few = Map.groupBy(loadSchedulerGolden().few, fewName)
  for (const [row, runs] of few) {
    const difference = Math.max(...runs.map((run) => runDifference(run)))
    yield { area: 'few steps', row, measure: 'part', difference, limit: partLimit }
  }
  const zero = Map.groupBy(
    loadSchedulerGolden().zero_snr,
    ({ sampler, schedule }) => `${sampler} ${schedule}`,
  )
  for (const [row, runs] of zero) {
    yield {
      area: 'zero terminal SNR',
      row,
      measure: 'part',
      difference: Math.max(...runs.map((run) => runDifference(run, { rescale_betas_zero_snr: true }))),
      limit: row.startsWith('euler') ? zeroSnrLimit : partLimit,
      ...(row.startsWith('euler') && { note: 'samples begin 4096 times as large, in float32' }),
    }
  }
}

function fewName({ sampler, eta, timesteps }: GoldenRun): string {
  const spacing = sampler === 'ddim' ? ' trailing' : ''
  if (timesteps !== undefined) return `${sampler}, explicit timesteps`
  return `${sampler}${spacing}, few steps and odd numbers of steps${eta === undefined ? '' : `, eta ${eta}`}`
}

function noteOf(sampler: SamplerName, schedule: Schedule): string | undefined {
  if (sampler === 'dpmpp_sde') return "formula alone: diffusers' noise comes from torchsde"
  if (sampler === 'euler_ancestral' && ['karras', 'exponential', 'beta'].includes(schedule)) {
    return "with the levels of diffusers' Euler, which has this schedule"
  }
  return undefined
}
