import type { SchedulerConfig } from './scheduler-config.ts'

/** A test of diffusers' tests/schedulers: the sum and mean of |x| after the full loop. */
export interface UpstreamCase {
  readonly name: string
  readonly scheduler: string
  readonly config: SchedulerConfig
  readonly steps: number
  /** Step that the loop begins with, from a noised sample. */
  readonly start?: number
  /** Within 0.01. */
  readonly sum?: number
  readonly sumTolerance?: number
  /** Within 0.001. */
  readonly mean: number
}

const v = { prediction_type: 'v_prediction' } as const
const karras = { use_karras_sigmas: true } as const
const long = { num_train_timesteps: 1100 } as const
const solver = { final_sigmas_type: 'sigma_min', lower_order_final: false } as const
const corrector = { final_sigmas_type: 'sigma_min' } as const
const late = { beta_start: 0.01 } as const
const sd15 = { beta_start: 0.00085, beta_end: 0.012, beta_schedule: 'scaled_linear' } as const
const deterministicTcd = { ...sd15, eta: 0 } as const
const thresholding = { thresholding: true, dynamic_thresholding_ratio: 0.87, sample_max_value: 0.5 } as const

type Row = readonly [
  test: string,
  config: SchedulerConfig,
  expected: Partial<UpstreamCase> & { mean: number },
]

const rows: Readonly<Record<string, readonly Row[]>> = {
  DPMSolverMultistepScheduler: [
    ['full_loop_no_noise', solver, { mean: 0.3301 }],
    ['full_loop_with_noise', solver, { start: 5, sum: 318.4111, mean: 0.4146 }],
    ['full_loop_no_noise_thres', { ...solver, ...thresholding }, { mean: 1.1364 }],
    ['full_loop_with_v_prediction', { ...solver, ...v }, { mean: 0.2251 }],
    ['full_loop_with_karras_and_v_prediction', { ...solver, ...v, ...karras }, { mean: 0.2096 }],
    ['full_loop_with_lu_and_v_prediction', { ...solver, ...v, use_lu_lambdas: true }, { mean: 0.1554 }],
  ],
  DPMSolverSinglestepScheduler: [
    ['full_loop_no_noise', solver, { mean: 0.2791 }],
    ['full_loop_with_karras', { ...solver, ...karras }, { mean: 0.2248 }],
    ['full_loop_with_v_prediction', { ...solver, ...v }, { mean: 0.1453 }],
    ['full_loop_with_karras_and_v_prediction', { ...solver, ...v, ...karras }, { mean: 0.0649 }],
    ['full_loop_with_noise', solver, { start: 5, sum: 269.2187, mean: 0.3505 }],
  ],
  UniPCMultistepScheduler: [
    ['full_loop_no_noise', corrector, { mean: 0.2464 }],
    ['full_loop_with_karras', { ...corrector, ...karras }, { mean: 0.2925 }],
    ['full_loop_with_v_prediction', { ...corrector, ...v }, { mean: 0.1014 }],
    ['full_loop_with_karras_and_v_prediction', { ...corrector, ...v, ...karras }, { mean: 0.1966 }],
    ['full_loop_with_noise', corrector, { start: 8, sum: 315.5757, mean: 0.4109 }],
  ],
  EulerDiscreteScheduler: [
    ['full_loop_no_noise', long, { sum: 10.0807, mean: 0.0131 }],
    ['full_loop_with_v_prediction', { ...long, ...v }, { sum: 0.0002, mean: 2.2676e-6 }],
    ['full_loop_device_karras_sigmas', { ...long, ...karras }, { sum: 124.52299, mean: 0.162139 }],
    ['full_loop_with_noise', long, { start: 8, sum: 57062.9297, mean: 74.3007 }],
  ],
  EulerAncestralDiscreteScheduler: [
    ['full_loop_no_noise', long, { sum: 152.3192, mean: 0.1983 }],
    ['full_loop_with_v_prediction', { ...long, ...v }, { sum: 108.4439, mean: 0.1412 }],
    ['full_loop_with_noise', long, { start: 8, sum: 56163.0508, mean: 73.129 }],
  ],
  HeunDiscreteScheduler: [
    ['full_loop_no_noise', long, { sum: 0.1233, mean: 0.0002 }],
    ['full_loop_device_karras_sigmas', { ...long, ...karras }, { sum: 0.00015, mean: 1.9869e-7 }],
    ['full_loop_with_noise', long, { start: 8, sum: 75074.8906, mean: 97.7538 }],
  ],
  LMSDiscreteScheduler: [
    ['full_loop_no_noise', long, { sum: 1006.388, mean: 1.31 }],
    ['full_loop_with_v_prediction', { ...long, ...v }, { sum: 0.0017, mean: 2.2676e-6 }],
    [
      'full_loop_device_karras_sigmas',
      { ...long, ...karras },
      { sum: 3812.9927, mean: 4.9648, sumTolerance: 2e-2 },
    ],
    ['full_loop_with_noise', long, { start: 8, sum: 27663.6895, mean: 36.0204 }],
  ],
  DDIMScheduler: [
    ['full_loop_no_noise', {}, { sum: 172.0067, mean: 0.223967 }],
    ['full_loop_with_v_prediction', v, { sum: 52.5302, mean: 0.0684 }],
    ['full_loop_with_set_alpha_to_one', { ...late, set_alpha_to_one: true }, { sum: 149.8295, mean: 0.1951 }],
    [
      'full_loop_with_no_set_alpha_to_one',
      { ...late, set_alpha_to_one: false },
      { sum: 149.0784, mean: 0.1941 },
    ],
    ['full_loop_with_noise', {}, { start: 8, sum: 354.5418, mean: 0.4616 }],
  ],
  PNDMScheduler: [
    ['full_loop_no_noise', {}, { sum: 198.1318, mean: 0.258 }],
    ['full_loop_with_v_prediction', v, { sum: 67.3986, mean: 0.0878 }],
    ['full_loop_with_set_alpha_to_one', { ...late, set_alpha_to_one: true }, { sum: 230.0399, mean: 0.2995 }],
    [
      'full_loop_with_no_set_alpha_to_one',
      { ...late, set_alpha_to_one: false },
      { sum: 186.9482, mean: 0.2434 },
    ],
  ],
  LCMScheduler: [
    ['full_loop_onestep', sd15, { steps: 1, sum: 18.7097, mean: 0.0244, sumTolerance: 1e-3 }],
    ['full_loop_multistep', sd15, { sum: 197.7616, mean: 0.2575, sumTolerance: 1e-3 }],
  ],
  TCDScheduler: [
    ['full_loop_onestep', deterministicTcd, { steps: 1, sum: 29.8715, mean: 0.0389, sumTolerance: 1e-3 }],
    ['full_loop_multistep', deterministicTcd, { sum: 181.204, mean: 0.2359, sumTolerance: 1e-3 }],
  ],
}

/** Every full loop of diffusers' tests for the schedulers that have a sampler here; 10 steps by default. */
export const upstreamCases: readonly UpstreamCase[] = Object.entries(rows).flatMap(([scheduler, tests]) =>
  tests.map(([test, config, expected]) => ({
    name: `${scheduler} ${test}`,
    scheduler,
    config,
    steps: 10,
    ...expected,
  })),
)
