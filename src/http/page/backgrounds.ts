import { AppError } from '../../jobs/errors.ts'
import { withoutComments } from '../../jobs/prompt-tags.ts'
import { saysNothing } from '../../jobs/request/loras.ts'
import { describeValue, listed } from '../../jobs/wording.ts'

/**
 * Backgrounds to choose from instead of describing one. They exist only on the page: the API has only the prompt. A
 * prompt that ends with the words of one was sent with it, or says the same: `withoutBackground` reads it back.
 */
export interface Background {
  /** Also the name of its style in suggestions.css. */
  readonly value: string
  readonly label: string
  /** What is added to the prompt. */
  readonly words: string
}

export const backgrounds: readonly Background[] = [
  { value: 'white', label: 'Studio white', words: 'on a white background, soft light' },
  { value: 'dark', label: 'Dark', words: 'on a dark background, dramatic lighting' },
  { value: 'wood', label: 'Wood', words: 'on a wooden table' },
  { value: 'marble', label: 'Marble', words: 'on a marble table' },
  { value: 'gradient', label: 'Grey gradient', words: 'on a grey gradient background' },
  { value: 'blue', label: 'Pastel blue', words: 'on a light blue background' },
  { value: 'pink', label: 'Pastel pink', words: 'on a light pink background' },
  { value: 'beige', label: 'Beige', words: 'on a beige background' },
]

/** The prompt with the words of a background. An empty prompt stays empty, so that it is reported. */
export function onBackground(prompt: string, value: string): string {
  const words = find(value)?.words
  if (words === undefined || saysNothing(prompt)) return prompt
  const text = withoutComments(prompt).trimEnd()
  return `${text}${text.endsWith(',') ? '' : ','} ${words}`
}

/** The opposite of `onBackground`: the prompt without the words of a background, and which one that was. */
export function withoutBackground(prompt: string): { prompt: string; background: string } {
  const found = backgrounds.find(({ words }) => prompt.endsWith(`, ${words}`))
  if (found === undefined) return { prompt, background: '' }
  return { prompt: prompt.slice(0, -`, ${found.words}`.length), background: found.value }
}

/** Undefined if none is chosen. Throws `invalid_request` for an unknown one. */
function find(value: string): Background | undefined {
  if (value === '') return undefined
  const background = backgrounds.find((each) => each.value === value)
  if (background !== undefined) return background
  const message = `background must be empty or one of ${listed(backgrounds.map((each) => each.value))}, but was ${describeValue(value)}.`
  throw new AppError('invalid_request', message, { param: 'background' })
}
