/**
 * DoRA, https://arxiv.org/abs/2402.09353: the weight and its change together keep their direction only, and their size
 * is trained on its own. Both functions make of the plain difference to the stored weight
 * [out, in * pixels] the final one, in place.
 */

/**
 * As PEFT has it (tuners/lora/dora.py): a size for the weights of each output, whatever the strength, which is in
 * `difference`.
 */
export function perOutput(sizes: Float32Array, stored: Float32Array, difference: Float32Array): void {
  const columns = stored.length / sizes.length
  for (let row = 0; row < sizes.length; row++) {
    const [begin, end] = [row * columns, (row + 1) * columns]
    let squares = 0
    for (let i = begin; i < end; i++) squares += (stored[i]! + difference[i]!) ** 2
    const factor = sizes[row]! / Math.sqrt(squares)
    for (let i = begin; i < end; i++) {
      difference[i] = factor * (stored[i]! + difference[i]!) - stored[i]!
    }
  }
}

/** torch.finfo(torch.float32).eps, which LyCORIS adds to each size. */
const epsilon = 2 ** -23

/**
 * As LyCORIS has it (modules/base.py, apply_weight_decompose): a size for the weights of each input, or of each output.
 * Strength goes from the stored weight to the trained one, as in AUTOMATIC1111 and ComfyUI.
 */
export function resized(
  { data: sizes, byOutput }: { readonly data: Float32Array; readonly byOutput: boolean },
  shape: readonly number[],
  stored: Float32Array,
  difference: Float32Array,
  strength: number,
): void {
  const [rows, channels] = shape as [number, number]
  const pixels = stored.length / (rows * channels)
  const squares = new Float64Array(sizes.length)
  for (let row = 0, i = 0; row < rows; row++) {
    for (let channel = 0; channel < channels; channel++) {
      const index = byOutput ? row : channel
      for (let k = 0; k < pixels; k++, i++) squares[index]! += (stored[i]! + difference[i]!) ** 2
    }
  }
  const factors = sizes.map((size, index) => size / (Math.sqrt(squares[index]!) + epsilon))
  for (let row = 0, i = 0; row < rows; row++) {
    for (let channel = 0; channel < channels; channel++) {
      const factor = factors[byOutput ? row : channel]!
      for (let k = 0; k < pixels; k++, i++) {
        difference[i] = strength * (factor * (stored[i]! + difference[i]!) - stored[i]!)
      }
    }
  }
}
