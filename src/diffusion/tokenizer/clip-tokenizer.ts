import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Tokenizer } from '@huggingface/tokenizers'
import { ConfigFile } from '../config-file.ts'
import { CheckpointError } from '../errors.ts'

const begin = '<|startoftext|>'
const end = '<|endoftext|>'

/** CLIP's byte-pair tokens, as transformers' CLIPTokenizer makes them. */
export class ClipTokenizer {
  readonly #tokenizer: Tokenizer
  readonly begin: number
  readonly end: number
  readonly pad: number

  private constructor(tokenizer: Tokenizer, pad: string, folder: string) {
    const id = (token: string): number => {
      const found = tokenizer.token_to_id(token)
      if (found === undefined) throw new CheckpointError(`${folder}: the vocabulary has no token ${token}`)
      return found
    }
    this.#tokenizer = tokenizer
    this.begin = id(begin)
    this.end = id(end)
    this.pad = id(pad)
  }

  /** @param folder with `tokenizer.json`, or with `vocab.json` and `merges.txt` */
  static async load(folder: string): Promise<ClipTokenizer> {
    const map = await ConfigFile.readIfPresent(join(folder, 'special_tokens_map.json'))
    const pad = map.tokenText('pad_token') ?? end
    return ClipTokenizer.#build(folder, pad, () => definition(folder))
  }

  /** @param text a tokenizer.json @param source its origin, for messages */
  static parse(text: string, source: string): Promise<ClipTokenizer> {
    return ClipTokenizer.#build(source, end, async () => JSON.parse(text))
  }

  /** @param merges pairs of symbols separated by a space, in merge order */
  static of(vocabulary: Readonly<Record<string, number>>, merges: readonly string[]): Promise<ClipTokenizer> {
    return ClipTokenizer.#build("CLIP's vocabulary", end, async () => clipDefinition(vocabulary, merges))
  }

  static async #build(
    source: string,
    pad: string,
    definition: () => Promise<object>,
  ): Promise<ClipTokenizer> {
    try {
      return new ClipTokenizer(new Tokenizer(await definition(), {}), pad, source)
    } catch (cause) {
      if (cause instanceof CheckpointError) throw cause
      throw new CheckpointError(`${source}: the tokenizer cannot be read`, { cause })
    }
  }

  /** All tokens of a text, without begin and end. */
  ids(text: string): readonly number[] {
    return this.#tokenizer.encode(text, { add_special_tokens: false }).ids
  }
}

async function definition(folder: string): Promise<object> {
  const ready = await readFile(join(folder, 'tokenizer.json'), 'utf8').catch(() => undefined)
  if (ready !== undefined) return JSON.parse(ready)
  const read = (name: string) =>
    readFile(join(folder, name), 'utf8').catch((cause: unknown) => {
      throw new CheckpointError(`${join(folder, name)}: the file is missing or not readable`, { cause })
    })
  const vocabulary: Record<string, number> = JSON.parse(await read('vocab.json'))
  const merges = (await read('merges.txt'))
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#version'))
  return clipDefinition(vocabulary, merges)
}

/** What transformers' conversion of a slow CLIPTokenizer yields (convert_slow_tokenizer.py, CLIPConverter). */
function clipDefinition(vocabulary: Readonly<Record<string, number>>, merges: readonly string[]): object {
  const special = (content: string) => ({
    id: vocabulary[content],
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  })
  const word =
    "<\\|startoftext\\|>|<\\|endoftext\\|>|'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+"
  return {
    added_tokens: [special(begin), special(end)],
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'NFC' },
        { type: 'Replace', pattern: { Regex: '\\s+' }, content: ' ' },
        { type: 'Lowercase' },
      ],
    },
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        { type: 'Split', pattern: { Regex: word }, behavior: 'Removed', invert: true },
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
