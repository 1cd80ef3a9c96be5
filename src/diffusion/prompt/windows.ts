import { isBreak, parseAttention } from './attention.ts'
import type { TextualInversion } from './textual-inversion.ts'

/** The part of ClipTokenizer that the layout needs. */
interface PromptTokenizer {
  readonly begin: number
  readonly end: number
  readonly pad: number
  /** The tokens of a text, without begin and end. */
  ids(text: string): readonly number[]
}

/** The input of one text encoder call: begin, up to 75 tokens, end, padding. */
export interface PromptWindow {
  /** One per position of the text encoder; 0 where a vector of a textual inversion goes. */
  readonly ids: readonly number[]
  /** One per id; 1 for begin, end and padding. */
  readonly multipliers: readonly number[]
  /** `offset` is the position of the first vector among `ids`. */
  readonly inversions: readonly PlacedInversion[]
}

interface PlacedInversion {
  readonly offset: number
  readonly inversion: TextualInversion
}

/** A prompt ready for the text encoder; at least one window. */
export type PromptWindows = readonly PromptWindow[]

/** AUTOMATIC1111's default for `comma_padding_backtrack`, in tokens. */
const commaBacktrack = 20

const clipPositions = 77

/**
 * Lays a prompt out as AUTOMATIC1111 does (`tokenize_line` of sd_hijack_clip.py): stretches of one weight are
 * tokenized one by one and fill windows of 75 tokens. When a window is full and there is a comma among its last 20
 * tokens, whatever follows the comma moves to the next window. BREAK begins a new window. The name of a textual
 * inversion is found by its tokens (so case does not matter), longest name first, and replaced by its vectors, which
 * stay together: if they do not fit, they begin the next window.
 * One difference is deliberate: vectors that follow such a comma move with their text; AUTOMATIC1111 leaves them
 * behind in the window's padding.
 *
 * @param inversions by name
 * @param positions of the text encoder, begin and end included
 */
export function layOutPrompt(
  prompt: string,
  tokenizer: PromptTokenizer,
  inversions: ReadonlyMap<string, TextualInversion> = new Map(),
  positions: number = clipPositions,
): PromptWindows {
  const findName = byTokens(tokenizer, inversions.keys())
  const comma = tokenizer.ids(',')
  const layout = new Layout(tokenizer, positions - 2)
  for (const stretch of parseAttention(prompt)) {
    if (isBreak(stretch)) {
      layout.nextWindow()
      continue
    }
    const ids = tokenizer.ids(stretch.text)
    for (let position = 0; position < ids.length; ) {
      const id = ids[position] as number
      layout.makeRoom(comma.length === 1 && id === comma[0])
      const found = findName(ids, position)
      const inversion = found && inversions.get(found.name)
      if (inversion) layout.addInversion(inversion, stretch.weight)
      else layout.addToken(id, stretch.weight)
      position += found ? found.ids.length : 1
    }
  }
  return layout.finish()
}

/**
 * The textual inversions that a prompt names. Only those need to be read from their files: the layout is the same
 * with them alone as with all.
 */
export function namesIn(
  prompt: string,
  tokenizer: PromptTokenizer,
  names: Iterable<string>,
): ReadonlySet<string> {
  const findName = byTokens(tokenizer, names)
  const asked = new Set<string>()
  for (const stretch of parseAttention(prompt)) {
    const ids = isBreak(stretch) ? [] : tokenizer.ids(stretch.text)
    for (let position = 0; position < ids.length; ) {
      const found = findName(ids, position)
      if (found) asked.add(found.name)
      position += found ? found.ids.length : 1
    }
  }
  return asked
}

interface TokenizedName {
  readonly name: string
  readonly ids: readonly number[]
}

/** Finds the name whose tokens are at a position; the longest wins, then the first. */
function byTokens(
  tokenizer: PromptTokenizer,
  names: Iterable<string>,
): (ids: readonly number[], position: number) => TokenizedName | undefined {
  const tokenized = [...names]
    .map((name) => ({ name, ids: tokenizer.ids(name) }))
    .filter(({ ids }) => ids.length > 0)
    .sort((a, b) => b.ids.length - a.ids.length)
  return (ids, position) =>
    tokenized.find((name) => name.ids.every((id, index) => ids[position + index] === id))
}

/** Fills window after window; positions here do not count the begin token. */
class Layout {
  readonly #tokenizer: PromptTokenizer
  readonly #size: number
  readonly #windows: PromptWindow[] = []
  #ids: number[] = []
  #multipliers: number[] = []
  #inversions: PlacedInversion[] = []
  #lastComma: number | undefined

  constructor(tokenizer: PromptTokenizer, size: number) {
    this.#tokenizer = tokenizer
    this.#size = size
  }

  /** Called before each token: begins the next window if this one is full. A comma itself never moves text. */
  makeRoom(isComma: boolean): void {
    const filled = this.#ids.length
    if (isComma) this.#lastComma = filled
    else if (
      filled === this.#size &&
      this.#lastComma !== undefined &&
      filled - this.#lastComma <= commaBacktrack
    ) {
      this.#breakAt(this.#lastComma + 1)
    }
    if (this.#ids.length === this.#size) this.nextWindow()
  }

  addToken(id: number, weight: number): void {
    this.#ids.push(id)
    this.#multipliers.push(weight)
  }

  addInversion(inversion: TextualInversion, weight: number): void {
    if (this.#ids.length + inversion.count > this.#size) this.nextWindow()
    this.#inversions.push({ offset: this.#ids.length, inversion })
    for (let i = 0; i < inversion.count; i++) this.addToken(0, weight)
  }

  nextWindow(): void {
    const { begin, end, pad } = this.#tokenizer
    const empty = this.#size - this.#ids.length
    this.#windows.push({
      ids: [begin, ...this.#ids, end, ...Array<number>(empty).fill(pad)],
      multipliers: [1, ...this.#multipliers, 1, ...Array<number>(empty).fill(1)],
      inversions: this.#inversions.map(({ offset, inversion }) => ({ offset: offset + 1, inversion })),
    })
    this.#ids = []
    this.#multipliers = []
    this.#inversions = []
    this.#lastComma = undefined
  }

  finish(): PromptWindows {
    if (this.#ids.length > 0 || this.#windows.length === 0) this.nextWindow()
    return this.#windows
  }

  /** Moves everything from `position` on to the next window. */
  #breakAt(position: number): void {
    const ids = this.#ids.splice(position)
    const multipliers = this.#multipliers.splice(position)
    const moved = this.#inversions.filter(({ offset }) => offset >= position)
    this.#inversions = this.#inversions.filter(({ offset }) => offset < position)
    this.nextWindow()
    this.#ids = ids
    this.#multipliers = multipliers
    this.#inversions = moved.map(({ offset, inversion }) => ({ offset: offset - position, inversion }))
  }
}
