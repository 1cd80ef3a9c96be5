/** The noise that a model was trained with: the part of `scheduler_config.json` that belongs to the weights. */
export interface NoiseConfig {
  readonly num_train_timesteps: number
  readonly beta_start: number
  readonly beta_end: number
  readonly beta_schedule: 'linear' | 'scaled_linear'
  readonly prediction_type: 'epsilon' | 'v_prediction'
  /** The last timestep is noise alone ("zero terminal SNR"), https://arxiv.org/abs/2305.08891 algorithm 1. */
  readonly rescale_betas_zero_snr?: boolean
}

/** In place of a last share of 0, whose noise level is infinite; diffusers' number. */
const smallestShare = 2 ** -24

/**
 * The remaining share of the clean sample's variance at every training timestep, falling ("alphas_cumprod").
 * Rounded to float32 where torch rounds. With zero terminal SNR the last is 0.
 * @returns [num_train_timesteps]
 */
export function trainingAlphas(config: NoiseConfig): Float64Array {
  const { num_train_timesteps: count, beta_start: start, beta_end: end, beta_schedule: kind } = config
  const alphas = new Float64Array(count)
  const [from, to] = kind === 'linear' ? [start, end] : [Math.sqrt(start), Math.sqrt(end)]
  let product = 1
  for (let t = 0; t < count; t++) {
    const point = Math.fround(from + (t * (to - from)) / (count - 1))
    const beta = kind === 'linear' ? point : Math.fround(point * point)
    product = product * Math.fround(1 - beta)
    alphas[t] = Math.fround(product)
  }
  return config.rescale_betas_zero_snr ? withoutSignal(alphas) : alphas
}

/** As `rescale_zero_terminal_snr` in diffusers' schedulers: roots are shifted to end at 0, and scaled to begin as before. */
function withoutSignal(alphas: Float64Array): Float64Array {
  const roots = alphas.map((abar) => Math.fround(Math.sqrt(abar)))
  const [first, last] = [roots[0] as number, roots.at(-1) as number]
  const scale = Math.fround(first / Math.fround(first - last))
  const shares = roots.map((root) => {
    const scaled = Math.fround(Math.fround(root - last) * scale)
    return Math.fround(scaled * scaled)
  })
  // diffusers goes back to betas, and multiplies these again
  let product = 1
  return shares.map((share, t) => {
    const kept = t === 0 ? share : Math.fround(share / (shares[t - 1] as number))
    product *= Math.fround(1 - Math.fround(1 - kept))
    return Math.fround(product)
  })
}

/**
 * The noise level sigma of every training timestep, rising: sqrt((1 - abar) / abar). Rounded to float32 where
 * torch rounds, because Karras' formula starts from the first and the last of these numbers.
 * @returns [num_train_timesteps]
 */
export function trainingSigmas(config: NoiseConfig): Float64Array {
  return finiteAlphas(config).map((abar) => Math.fround(Math.sqrt(Math.fround(Math.fround(1 - abar) / abar))))
}

/** Like `trainingAlphas`, but the last is above 0: for samplers that divide by it. */
export function finiteAlphas(config: NoiseConfig): Float64Array {
  return trainingAlphas(config).map((abar) => Math.max(abar, smallestShare))
}
