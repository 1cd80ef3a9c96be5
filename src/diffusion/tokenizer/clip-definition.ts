import { isDeepStrictEqual } from 'node:util'
import { CheckpointError } from '../errors.ts'

/**
 * What a tokenizer.json says, as data: vocabulary, merges and learned tokens. Its rules are patterns, which are programs
 * (one may run for hours on a short prompt), so only CLIP's own are accepted, and they are taken from here.
 */

export const begin = '<|startoftext|>'
export const end = '<|endoftext|>'

/** A token outside the vocabulary, found before a text is split into words. */
export interface AddedToken {
  readonly id: number
  readonly content: string
  /** It is found whatever its case. */
  readonly normalized: boolean
}

export interface ClipDefinition {
  readonly vocabulary: Readonly<Record<string, number>>
  /** Pairs of symbols, in merge order: separated by a space, or lists of two. */
  readonly merges: readonly unknown[]
  readonly added: readonly AddedToken[]
}

const words = "'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+"
const wordsAndMarks = `<\\|startoftext\\|>|<\\|endoftext\\|>|${words}`

const normalizer = {
  type: 'Sequence',
  normalizers: [
    { type: 'NFC' },
    { type: 'Replace', pattern: { Regex: '\\s+' }, content: ' ' },
    { type: 'Lowercase' },
  ],
}

/** For the tokenizer library: what transformers' conversion of a CLIPTokenizer yields (CLIPConverter). */
export function libraryDefinition({ vocabulary, merges, added }: ClipDefinition): object {
  const marks = [begin, end].map((content) => ({
    id: vocabulary[content],
    content,
    special: true,
    normalized: false,
  }))
  const learned = added.map((token) => ({ ...token, special: false }))
  return {
    added_tokens: [...marks, ...learned].map((token) => ({
      ...token,
      single_word: false,
      lstrip: false,
      rstrip: false,
    })),
    normalizer,
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        { type: 'Split', pattern: { Regex: wordsAndMarks }, behavior: 'Removed', invert: true },
        { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
      ],
    },
    post_processor: null,
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      unk_token: end,
      continuing_subword_prefix: '',
      end_of_word_suffix: '</w>',
      fuse_unk: false,
      vocab: vocabulary,
      merges,
    },
  }
}

/** @param source its origin, for messages @throws CheckpointError if it is damaged, or not CLIP's kind */
export function parseDefinition(text: string, source: string): ClipDefinition {
  const { model, added_tokens, ...rules } = record(parsed(text, source), source)
  if (!isDeepStrictEqual(rules.normalizer, normalizer) || !isClipsSplit(rules.pre_tokenizer)) {
    throw new CheckpointError(
      `${source}: its normalizer or pre_tokenizer is not CLIP's; others are not supported`,
      {
        reason: "its tokenizer has rules of its own; only CLIP's are supported",
      },
    )
  }
  const { type, vocab, merges, end_of_word_suffix } = record(model, source)
  if (type !== 'BPE' || end_of_word_suffix !== '</w>' || !Array.isArray(merges)) throw damaged(source)
  return { vocabulary: vocabularyOf(vocab, source), merges, added: addedTokens(added_tokens, source) }
}

/** Those of a list, without CLIP's own two marks. @throws CheckpointError */
export function addedTokens(list: unknown, source: string): AddedToken[] {
  if (list === undefined || list === null) return []
  if (!Array.isArray(list)) throw damaged(source)
  return list.flatMap((entry: unknown) => {
    const { id, content, special, normalized } = record(entry, source)
    if (!isId(id) || typeof content !== 'string' || content === '') throw damaged(source)
    if (content === begin || content === end) return []
    return [{ id, content, normalized: typeof normalized === 'boolean' ? normalized : special !== true }]
  })
}

export function vocabularyOf(value: unknown, source: string): Readonly<Record<string, number>> {
  const vocabulary = record(value, source)
  if (!Object.values(vocabulary).every(isId)) throw damaged(source)
  return vocabulary as Record<string, number>
}

export function parsed(text: string, source: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw damaged(source, cause)
  }
}

export function record(value: unknown, source: string): Readonly<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return { ...value }
  throw damaged(source)
}

function damaged(source: string, cause?: unknown): CheckpointError {
  return new CheckpointError(`${source}: the tokenizer cannot be read`, {
    reason: 'its tokenizer is damaged',
    cause,
  })
}

function isId(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

/** Versions of transformers write the pattern with or without the marks, and more or fewer details of ByteLevel. */
function isClipsSplit(value: unknown): boolean {
  if (typeof value !== 'object' || value === null || !('pretokenizers' in value)) return false
  const [split, bytes, ...more] = value.pretokenizers as readonly (Record<string, unknown> | undefined)[]
  const { pattern, ...rest } = split ?? {}
  return (
    more.length === 0 &&
    isDeepStrictEqual(rest, { type: 'Split', behavior: 'Removed', invert: true }) &&
    [words, wordsAndMarks].some((regex) => isDeepStrictEqual(pattern, { Regex: regex })) &&
    bytes?.type === 'ByteLevel' &&
    bytes.add_prefix_space === false
  )
}
