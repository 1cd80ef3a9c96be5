import { isBreak, parseAttention } from '../diffusion/prompt/attention.ts'
import type { TextualInversion } from '../diffusion/prompt/textual-inversion.ts'
import { layOutPrompt } from '../diffusion/prompt/windows.ts'
import { ClipTokenizer } from '../diffusion/tokenizer/clip-tokenizer.ts'
import { clipVocabulary } from '../diffusion/tokenizer/clip-vocabulary.ts'
import type { PromptReader } from '../jobs/ports.ts'

/** An embedding, and how many tokens its name takes up. */
export interface NamedVectors {
  readonly name: string
  readonly vectors: number
}

/** A window has 75 tokens, and up to 20 of them move to the next one with what follows a comma. */
const leastFilled = 55

/**
 * Reads prompts by the engine's own rules. The vocabulary (CLIP's, which all models of the family share) costs a second
 * and 100 MB: it is loaded for the first prompt that could be long. Other prompts are estimated by their words.
 */
export function promptReader(embeddings: () => readonly NamedVectors[]): PromptReader {
  let loading: Promise<ClipTokenizer> | undefined
  const tokenizer = async () => {
    const { ids, merges } = await clipVocabulary()
    return ClipTokenizer.of(ids, merges)
  }
  return {
    async read(prompt, { exactFrom }) {
      const stretches = parseAttention(prompt)
      const strongest = stretches.filter((each) => !isBreak(each)).map(({ weight }) => Math.abs(weight))
      const weight = strongest.reduce((most, each) => (each <= most ? most : each), 0)
      const named = embeddings().filter(({ name }) => prompt.toLowerCase().includes(name.toLowerCase()))
      const breaks = stretches.filter(isBreak).length
      // a token has at least one byte that is no space
      const bytes = Buffer.byteLength(prompt.replace(/\s+/gu, ''))
      const atMost = 1 + breaks + Math.ceil(bytes / leastFilled)
      if (named.length === 0 && atMost < exactFrom) {
        const words = prompt.match(/[\p{L}]+|[^\s\p{L}]/gu)?.length ?? 0
        return { weight, windows: breaks + Math.max(1, Math.ceil(words / 75)) }
      }
      loading ??= tokenizer()
      return { weight, windows: layOutPrompt(prompt, await loading, inversionsOf(named)).length }
    },
  }
}

/** For the layout only: the vectors themselves do not matter. */
function inversionsOf(named: readonly NamedVectors[]): ReadonlyMap<string, TextualInversion> {
  return new Map(
    named.map(({ name, vectors }) => [name, { name, vectors: new Float32Array(), count: vectors, width: 0 }]),
  )
}
