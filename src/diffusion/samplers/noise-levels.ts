/** The noise that a model was trained with: the part of `scheduler_config.json` that belongs to the weights. */
export interface NoiseConfig {
  readonly num_train_timesteps: number
  readonly beta_start: number
  readonly beta_end: number
  readonly beta_schedule: 'linear' | 'scaled_linear'
  readonly prediction_type: 'epsilon' | 'v_prediction'
}

/**
 * The remaining share of the clean sample's variance at every training timestep, falling ("alphas_cumprod").
 * Rounded to float32 where torch rounds.
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
  return alphas
}

/**
 * The noise level sigma of every training timestep, rising: sqrt((1 - abar) / abar). Rounded to float32 where
 * torch rounds, because Karras' formula starts from the first and the last of these numbers.
 * @returns [num_train_timesteps]
 */
export function trainingSigmas(config: NoiseConfig): Float64Array {
  return trainingAlphas(config).map((abar) =>
    Math.fround(Math.sqrt(Math.fround(Math.fround(1 - abar) / abar))),
  )
}
