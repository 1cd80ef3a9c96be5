import type { ModelInfo } from '../../jobs/offer.ts'
import { withoutComments } from '../../jobs/prompt-tags.ts'
import { saysNothing } from '../../jobs/request/loras.ts'
import { type Background, findBackground, scenes } from './backgrounds.ts'

/**
 * What the form chooses instead of describing it: background, light, view and number. The API has only the prompt, so
 * these become words at its end, in one order, and a prompt that ends with such words is read back into the same choices.
 */
export interface Choices {
  readonly prompt: string
  readonly background: string
  /** Names of the model's own choices, see `controls` of a model; empty: as described. */
  readonly light: string
  readonly view: string
  readonly many: string
}

type Controls = NonNullable<ModelInfo['controls']>

const none: Controls = {}

/** The prompt with the words of all choices. An empty prompt stays empty, so that it is reported. */
export function inWords(choices: Choices, controls: Controls = none): string {
  const background = findBackground(choices.background)
  const view = controls.view?.[choices.view]
  const light = controls.light?.[choices.light] ?? background?.light
  const number = controls.count?.[choices.many]
  const words = [view, light !== background?.light && light, background && wordsOf(background, light)]
  const said = words.filter((each) => typeof each === 'string')
  if (saysNothing(choices.prompt) || (said.length === 0 && number === undefined)) return choices.prompt
  const text = withoutComments(choices.prompt).trimEnd().replace(/,$/, '')
  return [number === undefined ? text : counted(text, number), ...said].join(', ')
}

/** Its own light is said after the place, as the model's captions do; one that was chosen stands before it. */
function wordsOf({ place, light: own }: Background, light: string | undefined): string {
  return own !== undefined && light === own ? `${place}, ${own}` : place
}

/** The opposite of `inWords`, except for the number, which stays in the words. A place alone is left in the prompt if it is usually lit. */
export function fromWords(text: string, controls: Controls = none): Choices {
  let prompt = text
  const without = (words: string) => {
    const found = prompt.endsWith(`, ${words}`)
    if (found) prompt = prompt.slice(0, -`, ${words}`.length)
    return found
  }
  const named = (words: Readonly<Record<string, string>> = {}) =>
    Object.keys(words).find((name) => without(words[name] ?? '')) ?? ''
  const whole = scenes.find((scene) => without(wordsOf(scene, scene.light)))
  const bare = whole === undefined ? scenes.find((scene) => prompt.endsWith(`, ${scene.place}`)) : undefined
  const beforePlace = prompt
  if (bare !== undefined) without(bare.place)
  const light = named(controls.light)
  if (bare !== undefined && light === '') {
    return { prompt: beforePlace, background: '', light, view: '', many: '' }
  }
  const view = named(controls.view)
  return { prompt, background: (whole ?? bare)?.value ?? '', light, view, many: '' }
}

/** Where the name of the product ends: what follows says where or how it is. */
const nameEnds = /,|\s(?:on|in|at|with|against|before|under|beside|of|that|which|made|from)\s/i

/** "a red apple" as "two red apples". A prompt that begins with a number keeps it. */
function counted(text: string, number: string): string {
  const [, article = '', rest = ''] = /^(\s*(?:an?|one|the)\s+)?([\s\S]*)$/i.exec(text) ?? []
  if (article === '' && /^\s*(?:\d|two|three|four|five|several|some)\b/i.test(rest)) return text
  const name = rest.slice(0, nameEnds.exec(rest)?.index ?? rest.length)
  const many = number === 'one' || article === '' ? name : plural(name)
  return `${number} ${many}${rest.slice(name.length)}`
}

/** Of the regular English nouns, which product names are. */
function plural(name: string): string {
  if (/(?:loaf|knife|shelf)$/i.test(name)) return name.replace(/fe?$/i, 'ves')
  if (/[^aeiou]y$/i.test(name)) return name.replace(/y$/i, 'ies')
  if (/(?:s|x|z|ch|sh|tomato|potato|mango)$/i.test(name)) return `${name}es`
  return `${name}s`
}
