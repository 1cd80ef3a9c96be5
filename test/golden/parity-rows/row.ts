/** One line of docs/parity.md: how far the engine is from diffusers. */
export interface ParityRow {
  /** What is compared: `samplers`, `prompts`. */
  readonly area: string
  readonly row: string
  /** `part`: the largest difference over the largest value. `picture`: the largest difference of a channel, in 1/255. */
  readonly measure: 'part' | 'picture'
  readonly difference: number
  /** The most that `difference` may be. */
  readonly limit: number
  readonly note?: string
}
