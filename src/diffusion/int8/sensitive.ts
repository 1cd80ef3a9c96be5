/**
 * Layers that stay float32 in the mode of eight bits, whatever their weights: what they cost is next to nothing, and their
 * error goes into everything behind them (docs/int8.md has the error of each). Patterns of a layer's keys.
 */
const float: readonly RegExp[] = [
  // the first and the last convolution: 4 or 3 channels
  /^(decoder\.)?conv_(in|out)\./,
  /^(post_)?quant_conv\./,
  // the timestep, one row for each picture
  /^time_embedding\./,
  /\.time_emb_proj\./,
  // the text's keys and values: single states are 10 times as large as the others, and all share one scale
  /\.attn2\.to_[kv]\./,
]

/** @param key of a weight, under diffusers' names */
export function staysFloat(key: string): boolean {
  return float.some((pattern) => pattern.test(key))
}
