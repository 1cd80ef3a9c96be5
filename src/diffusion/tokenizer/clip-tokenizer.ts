import { join } from 'node:path'
import { Tokenizer } from '@huggingface/tokenizers'
import { ConfigFile, readSmallText } from '../config-file.ts'
import { CheckpointError, refused } from '../errors.ts'
import {
  type AddedToken,
  addedTokens,
  begin,
  type ClipDefinition,
  end,
  libraryDefinition,
  parseDefinition,
  parsed,
  record,
  vocabularyOf,
} from './clip-definition.ts'

/** CLIP's own vocabulary has 2 MB. */
const mostBytes = 10_000_000

/** Of a learned token: they fit into a window, and a word of a prompt costs no more than that. */
const mostVectors = 75

/** CLIP's byte-pair tokens, as transformers' CLIPTokenizer makes them. */
export class ClipTokenizer {
  readonly #tokenizer: Tokenizer
  /** Learned tokens of several vectors: what follows the first. */
  readonly #more: ReadonlyMap<number, readonly number[]>
  readonly begin: number
  readonly end: number
  readonly pad: number
  /** One more than the largest id: the rows of a table of embeddings. */
  readonly size: number

  private constructor(definition: ClipDefinition, pad: string, source: string) {
    const tokenizer = new Tokenizer(libraryDefinition(definition), {})
    const id = (token: string): number => {
      const found = tokenizer.token_to_id(token)
      if (found === undefined) throw new CheckpointError(`${source}: the vocabulary has no token ${token}`)
      return found
    }
    this.#tokenizer = tokenizer
    this.begin = id(begin)
    this.end = id(end)
    this.pad = id(pad)
    this.#more = followers(definition.added, source)
    const ids = [...Object.values(definition.vocabulary), ...definition.added.map((token) => token.id)]
    this.size = 1 + ids.reduce((most, each) => Math.max(most, each), 0)
  }

  /**
   * @param folder with `tokenizer.json`, or with `vocab.json` and `merges.txt`; learned tokens are in the first, in
   *   `added_tokens.json` or in `tokenizer_config.json`
   */
  static async load(folder: string): Promise<ClipTokenizer> {
    const map = await ConfigFile.readIfPresent(join(folder, 'special_tokens_map.json'))
    const pad = map.tokenText('pad_token') ?? end
    const read = await definition(folder)
    const added = unique([...read.added, ...(await separateTokens(folder))], folder)
    return ClipTokenizer.#build({ ...read, added }, pad, folder)
  }

  /** @param text a tokenizer.json @param source its origin, for messages */
  static parse(text: string, source: string): ClipTokenizer {
    const read = parseDefinition(text, source)
    return ClipTokenizer.#build({ ...read, added: unique(read.added, source) }, end, source)
  }

  /** @param merges pairs of symbols separated by a space, in merge order */
  static of(vocabulary: Readonly<Record<string, number>>, merges: readonly string[]): ClipTokenizer {
    return ClipTokenizer.#build({ vocabulary, merges, added: [] }, end, "CLIP's vocabulary")
  }

  static #build(definition: ClipDefinition, pad: string, source: string): ClipTokenizer {
    try {
      return new ClipTokenizer(definition, pad, source)
    } catch (cause) {
      if (cause instanceof CheckpointError) throw cause
      throw new CheckpointError(`${source}: the tokenizer cannot be read`, { cause })
    }
  }

  /**
   * All tokens of a text, without begin and end. A learned token of several vectors stands for all of them, as in
   * diffusers (`maybe_convert_prompt`).
   */
  ids(text: string): readonly number[] {
    // transformers lowers letter by letter: a sigma at the end of a word is no other letter
    const encoded = this.#tokenizer.encode(text.replaceAll('Σ', 'σ'), { add_special_tokens: false })
    const ids: readonly number[] = encoded.ids
    if (this.#more.size === 0) return ids
    return ids.flatMap((id, at) => {
      const more = this.#more.get(id) ?? []
      return more.length > 0 && ids[at + 1] === more[0] ? [id] : [id, ...more]
    })
  }
}

async function definition(folder: string): Promise<ClipDefinition> {
  const path = join(folder, 'tokenizer.json')
  const whole = await readSmallText(path, { ifPresent: true, mostBytes })
  if (whole !== undefined) return parseDefinition(whole, path)
  const vocab = join(folder, 'vocab.json')
  const vocabulary = vocabularyOf(parsed(await readSmallText(vocab, { mostBytes }), vocab), vocab)
  const merges = (await readSmallText(join(folder, 'merges.txt'), { mostBytes }))
    .split(/\r?\n/)
    .filter((line) => line !== '' && !line.startsWith('#version'))
  return { vocabulary, merges, added: [] }
}

/** In the two other files in which versions of transformers save them. */
async function separateTokens(folder: string): Promise<AddedToken[]> {
  const path = join(folder, 'added_tokens.json')
  const text = await readSmallText(path, { ifPresent: true, mostBytes })
  const ids = text === undefined ? {} : vocabularyOf(parsed(text, path), path)
  const named = Object.entries(ids).map(([content, id]) => ({ id, content }))
  const config = join(folder, 'tokenizer_config.json')
  const settings = await readSmallText(config, { ifPresent: true, mostBytes })
  const decoder =
    settings === undefined ? undefined : record(parsed(settings, config), config).added_tokens_decoder
  const decoded = Object.entries(decoder === undefined || decoder === null ? {} : record(decoder, config))
  return [
    ...addedTokens(named, path),
    ...addedTokens(
      decoded.map(([id, token]) => ({ ...record(token, config), id: Number(id) })),
      config,
    ),
  ]
}

/** Each token once. @throws CheckpointError for one that has two ids */
function unique(tokens: readonly AddedToken[], source: string): AddedToken[] {
  const known = new Map<string, AddedToken>()
  for (const token of tokens) {
    const same = known.get(token.content)
    if (same === undefined) known.set(token.content, token)
    else if (same.id !== token.id) {
      const shown = JSON.stringify(token.content.slice(0, 60))
      throw refused(source, `its tokenizer gives the token ${shown} two ids, ${same.id} and ${token.id}`)
    }
  }
  return [...known.values()]
}

/** `<cat>`, `<cat>_1`, `<cat>_2` are one learned concept. */
function followers(added: readonly AddedToken[], source: string): Map<number, number[]> {
  const ids = new Map(added.map(({ content, id }) => [content, id]))
  const found = new Map<number, number[]>()
  for (const { content, id } of added) {
    const more: number[] = []
    for (
      let next = ids.get(`${content}_1`);
      next !== undefined;
      next = ids.get(`${content}_${more.length + 1}`)
    )
      more.push(next)
    if (more.length >= mostVectors) {
      throw refused(source, `its tokenizer has a learned token of more than ${mostVectors} vectors`)
    }
    if (more.length > 0) found.set(id, more)
  }
  return found
}
