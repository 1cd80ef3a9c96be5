import type { Blame, Fault } from '../errors.ts'
import type { LoraUse, RequestLimits } from '../fields.ts'
import { nearest } from '../nearest.ts'
import { type AddOn, findNamed, type ModelInfo, namesFor, sameName, whyNot } from '../offer.ts'
import { withoutComments, withoutTags } from '../prompt-tags.ts'
import { describeValue, isBlank, listed } from '../wording.ts'

/**
 * The LoRAs of a request: those of its field, and those that its prompt names in A1111's form, `<lora:name:0.8>`. The
 * latter are removed from the prompt, as A1111 does.
 */

type LoraLimits = Pick<RequestLimits, 'maxLoras' | 'maxLoraStrength'>

interface Asked {
  readonly prompt?: string
  readonly negative_prompt?: string
  readonly loras?: readonly {
    readonly name: string
    readonly strength?: number
    readonly text_strength?: number
  }[]
}

/** `<lora:...>`; the older `lyco` means the same since A1111 1.5; a hypernetwork is something else. */
const tag = /<(lora|lyco|hypernet):([^<>]*)>/gi

/** Whether a prompt has nothing for a model to work with: no visible text besides its tags and comments. */
export function saysNothing(prompt: string): boolean {
  return isBlank(withoutTags(withoutComments(prompt.replace(tag, ''))))
}

/** Every fault is passed to `blame`. */
export function resolveLoras(
  asked: Asked,
  model: ModelInfo,
  offered: readonly AddOn[],
  limits: LoraLimits,
  blame: Blame,
): { prompt: string; loras: LoraUse[] } {
  if (asked.negative_prompt !== undefined && asked.negative_prompt.search(tag) >= 0) {
    blame(
      'negative_prompt',
      'negative_prompt must not contain <lora:...>: a LoRA applies to the whole picture, so name it in the prompt.',
    )
  }
  const written = lorasOfPrompt(asked.prompt ?? '', limits, blame)
  const inField = (asked.loras ?? []).map(({ name, strength = 1, text_strength }) =>
    use(name, strength, text_strength),
  )
  for (const [param, uses] of [
    ['loras', inField],
    ['prompt', written.loras],
  ] as const) {
    for (const [index, { name }] of uses.entries()) {
      if (uses.findIndex((other) => sameName(other.name, name)) < index)
        blame(param, `${param} names the LoRA ${describeValue(name)} twice.`)
      else checkLora(param, name, model, offered, blame)
    }
  }
  for (const { name } of inField) {
    if (written.loras.some((other) => sameName(other.name, name))) {
      blame('loras', `loras names ${describeValue(name)}, which the prompt names too: remove one of them.`)
    }
  }
  const loras = [...inField, ...written.loras].map((each) => {
    return { ...each, name: findNamed(offered, each.name)?.name ?? each.name }
  })
  if (loras.length > limits.maxLoras && inField.length <= limits.maxLoras) {
    blame('prompt', `prompt and loras must name at most ${limits.maxLoras} LoRAs, but named ${loras.length}.`)
  }
  return { prompt: written.prompt, loras }
}

/** A strength of its own for the text encoder is left out where it has no effect. */
function use(name: string, strength: number, text = strength): LoraUse {
  return text === strength ? { name, strength } : { name, strength, text_strength: text }
}

/** The prompt without the LoRAs that it names, and those LoRAs. */
function lorasOfPrompt(text: string, limits: LoraLimits, blame: Blame): { prompt: string; loras: LoraUse[] } {
  const loras: LoraUse[] = []
  const prompt = text
    .replace(tag, (whole, kind: string, rest: string) => {
      const shown = describeValue(whole)
      if (kind.toLowerCase() === 'hypernet') {
        blame('prompt', `prompt names a hypernetwork (${shown}), which this service does not support.`)
        return ''
      }
      const written = fromTag(rest, limits)
      if (typeof written === 'string') blame('prompt', `prompt ${written}, but has ${shown}.`)
      else loras.push(written)
      return ''
    })
    .trim()
  if (isBlank(withoutTags(prompt)) && text !== '')
    blame('prompt', 'prompt must contain something besides its LoRAs.')
  return { prompt, loras }
}

/**
 * What `name:0.8:0.6` means: strengths for the text encoder and for the UNet, as in A1111's extra_networks_lora.py; both
 * may be named (`te=0.8`, `unet=0.6`). @returns what a prompt must be like, if it is nothing
 */
function fromTag(text: string, { maxLoraStrength: most }: LoraLimits): LoraUse | string {
  const [name = '', ...rest] = text.split(':').map((part) => part.trim())
  const named = new Map<string, string>()
  const positional: string[] = []
  for (const part of rest) {
    const [key, value] = part.split('=').map((side) => side.trim()) as [string, string?]
    if (value === undefined) positional.push(key)
    else named.set(key.toLowerCase(), value)
  }
  if ([...named.keys()].some((key) => key !== 'te' && key !== 'unet')) {
    return 'must set nothing but te and unet of a LoRA'
  }
  const number = (value: string | undefined) =>
    value === undefined || value === '' ? undefined : Number(value)
  const forText = number(named.get('te')) ?? number(positional[0]) ?? 1
  const strength = number(named.get('unet')) ?? number(positional[1]) ?? forText
  if (name === '' || positional.length > 2 || Number.isNaN(forText + strength)) {
    return 'must name a LoRA as <lora:name>, <lora:name:0.8>, or <lora:name:0.8:0.6> for text encoder and UNet'
  }
  if (Math.max(Math.abs(forText), Math.abs(strength)) > most) {
    return `must name a LoRA with a strength from ${-most} to ${most}`
  }
  return use(name, strength, forText)
}

function checkLora(
  param: string,
  name: string,
  model: ModelInfo,
  offered: readonly AddOn[],
  blame: Blame,
): void {
  const found = findNamed(offered, name)
  if (found !== undefined) {
    const reason = whyNot(found, model)
    if (reason !== undefined) blame(param, `The LoRA ${found.name} ${reason}.`)
    return
  }
  const fitting = namesFor(model, offered)
  const close = nearest(name, fitting)
  const list =
    fitting.length === 0 ? `There are none for the model ${model.name}.` : `Known LoRAs: ${listed(fitting)}.`
  blame(
    param,
    `There is no LoRA ${describeValue(name)}. ${close === undefined ? list : `Did you mean ${close}?`}`,
  )
}

/** What is wrong with the entries of the field `loras`; empty if the field as a whole is invalid. */
export function loraFieldFaults(value: unknown, limits: LoraLimits): Fault[] {
  if (!Array.isArray(value) || value.length > limits.maxLoras) return []
  return value.flatMap((entry: unknown, index) => {
    const message = entryFault(entry, limits)
    return message === undefined ? [] : [{ param: 'loras', message: `loras[${index}]${message}` }]
  })
}

function entryFault(entry: unknown, { maxLoraStrength: most }: LoraLimits): string | undefined {
  if (typeof entry !== 'object' || entry === null || Array.isArray(entry)) {
    return ` must be an object such as {"name": "x", "strength": 0.8}, but was ${describeValue(entry)}.`
  }
  const { name, strength, text_strength, ...rest }: Record<string, unknown> = { ...entry }
  const [foreign] = Object.keys(rest)
  if (foreign !== undefined) {
    return ` must have only name, strength and text_strength, but has ${describeValue(foreign)}.`
  }
  if (typeof name !== 'string') return `.name must be text, but was ${describeValue(name)}.`
  for (const [field, value] of Object.entries({ strength, text_strength })) {
    const fits = value === undefined || (typeof value === 'number' && Math.abs(value) <= most)
    if (!fits) return `.${field} must be a number from ${-most} to ${most}, but was ${describeValue(value)}.`
  }
  return undefined
}
