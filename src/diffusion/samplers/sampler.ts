/**
 * The interface between denoising loop and sampler. Model and sampler are independent: the loop scales the sample,
 * runs the model, passes the prediction to `step` and gets the next sample. A sampler is for one picture and keeps its
 * history, so `step` is called in order and once per index.
 */
export interface Sampler {
  /**
   * The timestep of each model call, including those that image-to-image skips. A second-order sampler calls the model
   * about twice per step.
   */
  readonly timesteps: Float64Array
  /** Unit noise times this is the first sample if nothing is skipped. */
  readonly initialScale: number
  /** Factor on the sample before the model sees it. */
  scaleInput(index: number): number
  /**
   * @param prediction the model's output for `timesteps[index]` @param sample as it was before `scaleInput`
   * @returns the sample after the call
   */
  step(prediction: Float32Array, index: number, sample: Float32Array): Float32Array
  /**
   * A clean sample with the noise level of `timesteps[index]`.
   * @param noise unit noise of the sample's size
   */
  addNoise(clean: Float32Array, noise: Float32Array, index: number): Float32Array
}
