import type { KeptStates } from './kept-states.ts'
import { checkWidth } from './textual-inversion.ts'
import { weigh } from './weigh.ts'
import type { PromptWindow, PromptWindows } from './windows.ts'

/** The text encoder of a model, as far as prompts need it. */
export interface WindowEncoder {
  /** Length of a token's vector. */
  readonly width: number
  /** Rows of the token embedding table, [ids.length, width]. */
  lookUp(ids: readonly number[]): Promise<Float32Array>
  /** From embeddings [1, tokens, width] to states [1, tokens, width]. */
  run(embeddings: Float32Array): Promise<Float32Array>
  /** Where its states are kept; absent: each window is encoded. */
  readonly kept?: Kept | undefined
}

interface Kept {
  readonly states: KeptStates
  /** Whatever states depend on beside the window. */
  readonly key: string
}

/** What the UNet attends to. */
export interface TextStates {
  /** [prompts, tokens, width]; shorter prompts are padded with zeros. */
  readonly states: Float32Array
  readonly tokens: number
  /** [prompts, tokens], 1 for a token and 0 for padding; absent if all prompts have the same length. */
  readonly mask?: Int32Array
}

/**
 * Encodes prompts for one UNet call, one row each. Windows go through the text encoder one by one, so that one
 * session serves prompts of any length; their states are concatenated.
 * @throws CheckpointError if an embedding was made for a different model family
 */
export async function encodePrompts(
  prompts: readonly PromptWindows[],
  encoder: WindowEncoder,
): Promise<TextStates> {
  const encoded: Float32Array[][] = []
  for (const windows of prompts) {
    const states: Float32Array[] = []
    for (const window of windows) states.push(await encodeWindow(window, encoder))
    encoded.push(states)
  }
  return join(encoded, encoder.width)
}

/** Of two prompts, of which the second is the picture's, that one alone and as long as it is: without guidance. */
export function promptAlone({ states, tokens, mask }: TextStates): TextStates {
  const width = states.length / (2 * tokens)
  const own = mask === undefined ? tokens : mask.subarray(tokens).reduce((sum, one) => sum + one, 0)
  return { states: states.slice(tokens * width, (tokens + own) * width), tokens: own }
}

function encodeWindow(window: PromptWindow, encoder: WindowEncoder): Promise<Float32Array> {
  const { kept } = encoder
  if (kept === undefined) return encodeAnew(window, encoder)
  const { ids, multipliers, inversions } = window
  const placed = inversions.map(
    ({ offset, inversion }) => `${offset}:${kept.states.identities.of(inversion)}`,
  )
  // as text, in which Infinity and NaN differ
  const key = [kept.key, ids, multipliers, placed].join(' ')
  return kept.states.get(key, () => encodeAnew(window, encoder))
}

async function encodeAnew(window: PromptWindow, encoder: WindowEncoder): Promise<Float32Array> {
  const embeddings = await encoder.lookUp(window.ids)
  for (const { offset, inversion } of window.inversions) {
    checkWidth(inversion, encoder.width)
    embeddings.set(inversion.vectors, offset * encoder.width)
  }
  return weigh(await encoder.run(embeddings), window.multipliers)
}

/** @param encoded the states of each prompt's windows */
function join(encoded: readonly (readonly Float32Array[])[], width: number): TextStates {
  const lengths = encoded.map((windows) => windows.reduce((total, { length }) => total + length, 0))
  const longest = Math.max(...lengths)
  const tokens = longest / width
  const states = new Float32Array(encoded.length * longest)
  const mask = new Int32Array(encoded.length * tokens)
  for (const [row, windows] of encoded.entries()) {
    let offset = row * longest
    mask.fill(1, row * tokens, row * tokens + lengths[row]! / width)
    for (const window of windows) {
      states.set(window, offset)
      offset += window.length
    }
  }
  return lengths.every((length) => length === longest) ? { states, tokens } : { states, tokens, mask }
}
