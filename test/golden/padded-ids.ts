import type { ClipTokenizer } from '../../src/diffusion/tokenizer/clip-tokenizer.ts'

/** What transformers' CLIPTokenizer gives with `padding="max_length"` and truncation: begin, text, end, padding. */
export function paddedIds(tokenizer: ClipTokenizer, text: string, length = 77): readonly number[] {
  const kept = tokenizer.ids(text).slice(0, length - 2)
  const padding = Array<number>(length - 2 - kept.length).fill(tokenizer.pad)
  return [tokenizer.begin, ...kept, tokenizer.end, ...padding]
}
