/** Names as requests have them. */
export const samplers = ['dpmpp_2m', 'dpmpp_2m_sde'] as const
export type SamplerName = (typeof samplers)[number]

/**
 * What the denoising loop needs of a sampler. Model and sampler do not know each other: the loop hands the
 * model's prediction to `step` and gets the next sample. A sampler serves one picture and keeps its history.
 */
export interface Sampler {
  /** One a step; what the model is told. */
  readonly timesteps: Float64Array
  /** Factor on unit noise that makes the first sample. */
  readonly initialScale: number
  /**
   * @param prediction the model's output for `timesteps[index]` @param sample what the model was given
   * @returns the sample after the step
   */
  step(prediction: Float32Array, index: number, sample: Float32Array): Float32Array
}
