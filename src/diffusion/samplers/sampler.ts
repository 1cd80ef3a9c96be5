/**
 * What the denoising loop needs of a sampler. Model and sampler do not know each other: the loop scales the sample,
 * asks the model, hands the prediction to `step` and gets the next sample. A sampler serves one picture and keeps
 * its history, so calls come in order and none twice.
 */
export interface Sampler {
  /**
   * What the model is told, one a call of the model; those that image-to-image skips are there too. A second-order
   * sampler calls the model about twice a step.
   */
  readonly timesteps: Float64Array
  /** Factor on unit noise that makes the first sample, when nothing is skipped. */
  readonly initialScale: number
  /** Factor on the sample before the model sees it. */
  scaleInput(index: number): number
  /**
   * @param prediction the model's output for `timesteps[index]` @param sample as it was before `scaleInput`
   * @returns the sample after the call
   */
  step(prediction: Float32Array, index: number, sample: Float32Array): Float32Array
  /**
   * A clean sample with as much noise as `timesteps[index]` expects.
   * @param noise unit noise of the sample's size
   */
  addNoise(clean: Float32Array, noise: Float32Array, index: number): Float32Array
}
