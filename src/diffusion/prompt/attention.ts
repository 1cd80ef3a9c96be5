/** A stretch of a prompt and its weight. A BREAK is the text 'BREAK' with weight -1. */
interface WeightedText {
  readonly text: string
  readonly weight: number
}

const roundFactor = 1.1
const squareFactor = 1 / 1.1

/** Escapes, brackets, `:1.3)` (spaces allowed) with its number as a group, plain text, and any remaining colon. */
const pieces = /\\[()[\]\\]?|\(|\[|:\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*\)|\)|\]|[^\\()[\]:]+|:/g

/** BREAK as a whole word, with the white space around it; word boundaries are Unicode's, as in Python. */
const breakWord = /\s*(?<![\p{L}\p{N}_])BREAK(?![\p{L}\p{N}_])\s*/u

/** Whether a stretch starts a new window. Inside brackets BREAK's weight is no longer -1, and it is an ordinary word. */
export function isBreak({ text, weight }: WeightedText): boolean {
  return text === 'BREAK' && weight === -1
}

/**
 * Splits a prompt into stretches of one weight, by the rules of AUTOMATIC1111's `parse_prompt_attention`:
 * `(a)` counts 1.1 times, `[a]` 1 / 1.1 times, `(a:1.3)` 1.3 times, nested brackets multiply, an unclosed bracket
 * extends to the end, an unopened one is text, `\(` `\)` `\[` `\]` `\\` are the characters themselves and any other
 * backslash is dropped. Anything but a number after a colon, as in `(a:1.2.3)`, is text.
 * Neighbours of equal weight are merged. There is always at least one stretch.
 * Source: https://github.com/AUTOMATIC1111/stable-diffusion-webui/wiki/Features#attentionemphasis
 */
export function parseAttention(prompt: string): WeightedText[] {
  const found: { text: string; weight: number }[] = []
  const round: number[] = []
  const square: number[] = []
  const multiply = (start: number | undefined, factor: number) => {
    for (const entry of found.slice(start)) entry.weight *= factor
  }
  for (const [piece, number] of prompt.matchAll(pieces)) {
    if (piece.startsWith('\\')) found.push({ text: piece.slice(1), weight: 1 })
    else if (piece === '(') round.push(found.length)
    else if (piece === '[') square.push(found.length)
    else if (number !== undefined && round.length > 0) multiply(round.pop(), Number(number))
    else if (piece === ')' && round.length > 0) multiply(round.pop(), roundFactor)
    else if (piece === ']' && square.length > 0) multiply(square.pop(), squareFactor)
    else {
      for (const [index, text] of piece.split(breakWord).entries()) {
        if (index > 0) found.push({ text: 'BREAK', weight: -1 })
        found.push({ text, weight: 1 })
      }
    }
  }
  for (const start of round) multiply(start, roundFactor)
  for (const start of square) multiply(start, squareFactor)
  return merged(found)
}

function merged(found: readonly WeightedText[]): WeightedText[] {
  const out: { text: string; weight: number }[] = []
  for (const { text, weight } of found) {
    const last = out.at(-1)
    if (last?.weight === weight) last.text += text
    else out.push({ text, weight })
  }
  return out.length > 0 ? out : [{ text: '', weight: 1 }]
}
