import { TorchGenerator } from '../../src/diffusion/random/torch-normal.ts'
import type { Schedule } from '../../src/diffusion/samplers/catalog.ts'
import { ddim } from '../../src/diffusion/samplers/ddim.ts'
import { dpmpp2m } from '../../src/diffusion/samplers/dpmpp-2m.ts'
import { dpmpp2s } from '../../src/diffusion/samplers/dpmpp-2s.ts'
import { euler } from '../../src/diffusion/samplers/euler.ts'
import { heun } from '../../src/diffusion/samplers/heun.ts'
import { lcm } from '../../src/diffusion/samplers/lcm.ts'
import { lms } from '../../src/diffusion/samplers/lms.ts'
import {
  type NoiseConfig,
  trainingAlphas,
  trainingSigmas,
} from '../../src/diffusion/samplers/noise-levels.ts'
import { pndm } from '../../src/diffusion/samplers/pndm.ts'
import type { Sampler } from '../../src/diffusion/samplers/sampler.ts'
import {
  spaceDistilled,
  spaceLevels,
  spaceScaledLevels,
  spaceTimesteps,
} from '../../src/diffusion/samplers/schedules.ts'
import { tcd } from '../../src/diffusion/samplers/tcd.ts'
import { unipc } from '../../src/diffusion/samplers/unipc.ts'
import { clippedDdim, pndmWithWarmUp, thresholded } from './scheduler-extras.ts'

/** The settings of diffusers' schedulers that its tests change. */
export interface SchedulerConfig extends Partial<NoiseConfig> {
  readonly algorithm_type?: string
  readonly use_karras_sigmas?: boolean
  readonly use_lu_lambdas?: boolean
  readonly timestep_spacing?: string
  readonly steps_offset?: number
  readonly final_sigmas_type?: string
  readonly lower_order_final?: boolean
  readonly thresholding?: boolean
  readonly dynamic_thresholding_ratio?: number
  readonly sample_max_value?: number
  readonly clip_sample?: boolean
  readonly set_alpha_to_one?: boolean
  readonly skip_prk_steps?: boolean
  readonly eta?: number
}

/** The noise of diffusers' own tests. */
const testNoise: NoiseConfig = {
  num_train_timesteps: 1000,
  beta_start: 0.0001,
  beta_end: 0.02,
  beta_schedule: 'linear',
  prediction_type: 'epsilon',
}

/** A sampler with the settings of a scheduler; fresh noise of 768 numbers comes from seed 0. */
export function samplerFromConfig(
  scheduler: string,
  config: SchedulerConfig,
  steps: number,
  begin: number,
): Sampler {
  const noiseConfig = { ...testNoise, ...config }
  const prediction = noiseConfig.prediction_type
  const alphas = trainingAlphas(noiseConfig)
  const training = trainingSigmas(noiseConfig)
  const generator = new TorchGenerator(0)
  const noise = () => generator.randn(768)
  const schedule = scheduleOf(config)
  const finalSigma = config.final_sigmas_type === 'sigma_min' ? (training[0] as number) : 0
  const finalAlpha = (one: boolean) => (one ? 1 : (alphas[0] as number))
  const solver = () => spaceLevels(schedule, training, steps)
  const scaled = () => spaceScaledLevels(schedule as Exclude<Schedule, 'lu'>, training, steps)
  const spaced = () => spaceTimesteps('leading', alphas.length, steps, config.steps_offset ?? 0)
  switch (scheduler) {
    case 'DPMSolverMultistepScheduler': {
      const sampler = dpmpp2m(solver(), {
        prediction,
        finalSigma,
        lowerOrderFinal: config.lower_order_final ?? true,
        ...(config.algorithm_type === 'sde-dpmsolver++' && { noise }),
      })
      if (!config.thresholding) return sampler
      const limits = { ratio: config.dynamic_thresholding_ratio!, maximum: config.sample_max_value! }
      return thresholded(sampler, solver(), limits)
    }
    case 'DPMSolverSinglestepScheduler':
      return dpmpp2s(solver(), {
        prediction,
        finalSigma,
        lowerOrderFinal: finalSigma === 0 || steps % 2 === 1,
      })
    case 'UniPCMultistepScheduler':
      return unipc(solver(), { prediction, finalSigma })
    case 'EulerDiscreteScheduler':
      return euler(scaled(), { prediction })
    case 'EulerAncestralDiscreteScheduler':
      return euler(scaled(), { prediction, noise })
    case 'HeunDiscreteScheduler':
      return heun(scaled(), prediction)
    case 'LMSDiscreteScheduler':
      return lms(scaled(), prediction)
    case 'DDIMScheduler':
      return ((config.clip_sample ?? true) ? clippedDdim : ddim)(spaced(), {
        prediction,
        alphas,
        steps,
        finalAlpha: finalAlpha(config.set_alpha_to_one ?? true),
      })
    case 'PNDMScheduler':
      return (config.skip_prk_steps ? pndm : pndmWithWarmUp)(spaced(), {
        prediction,
        alphas,
        steps,
        begin,
        finalAlpha: finalAlpha(config.set_alpha_to_one ?? false),
      })
    case 'LCMScheduler':
      return lcm(spaceDistilled(alphas.length, steps), { prediction, alphas, noise })
    case 'TCDScheduler':
      return tcd(spaceDistilled(alphas.length, steps), { prediction, alphas, eta: config.eta ?? 0.3, noise })
    default:
      throw new Error(`there is no sampler for ${scheduler}`)
  }
}

function scheduleOf({ use_karras_sigmas, use_lu_lambdas, timestep_spacing }: SchedulerConfig): Schedule {
  if (use_karras_sigmas) return 'karras'
  if (use_lu_lambdas) return 'lu'
  if (timestep_spacing === 'leading') return 'leading'
  return timestep_spacing === 'trailing' ? 'sgm_uniform' : 'normal'
}
