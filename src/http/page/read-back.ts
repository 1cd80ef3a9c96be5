import { Value } from 'typebox/value'
import { Finish, finishLimits } from '../../jobs/finish.ts'
import { findNamed, namesFor, type Offer } from '../../jobs/offer.ts'
import { tagsIn } from '../../jobs/prompt-tags.ts'
import { finishTexts } from './form-finish.ts'
import { fromWords } from './wording.ts'

/**
 * The settings in a picture's text, as AUTOMATIC1111's web UI writes them (create_infotext and parse_generation_parameters
 * in its modules) and Packshot does: words, the line "Negative prompt: ...", last "Steps: ..., Sampler: ...".
 */

export interface ReadBack {
  /** Fields of the form and their texts. */
  readonly values: Readonly<Record<string, string>>
  /** Sentences for people: what is not known here. */
  readonly notes: readonly string[]
}

/** A longer text is cut: no form takes more. */
const longestText = 65_536
const mostNamed = 8
const longestName = 60

/** Undefined if the text is none of settings. */
export function readBack(text: string, offer: Offer): ReadBack | undefined {
  const lines = text.slice(0, longestText).replaceAll('\r\n', '\n').trim().split('\n')
  const last = lines.at(-1) ?? ''
  const settings = settingsIn(last)
  if (settings.size < 3 || !settings.has('Steps')) return undefined
  const words = lines.slice(0, -1)
  const from = words.findIndex((line) => line.startsWith('Negative prompt:'))
  const prompt = words
    .slice(0, from < 0 ? words.length : from)
    .join('\n')
    .trim()
  const negative = from < 0 ? '' : words.slice(from).join('\n').slice('Negative prompt:'.length).trim()
  const notes: string[] = []
  const values: Record<string, string> = { prompt, ...(negative === '' ? {} : { negative_prompt: negative }) }
  for (const [name, field] of numbers) {
    const value = settings.get(name)
    if (value === undefined) continue
    if (/^-?\d{1,20}(\.\d{1,20})?(e-\d{1,2})?$/.test(value)) values[field] = value
    else notes.push(`${name} is no number in this picture (${shown(value)}), and left out.`)
  }
  for (const [name, field, shape] of texts) {
    const value = settings.get(name)
    if (value !== undefined && shape.test(value)) values[field] = value
  }
  // an exact picture does not say so, and the default here may be another
  if (settings.get('Version')?.startsWith('Packshot ')) values.precision ??= 'exact'
  const [, width, height] = /^(\d{1,5})x(\d{1,5})$/.exec(settings.get('Size') ?? '') ?? []
  if (width !== undefined && height !== undefined) Object.assign(values, { width, height })
  named(settings, offer, values, notes)
  finished(settings, offer, values, notes)
  const unknown = [...settings.keys()].filter((name) => !known.has(name))
  if (unknown.length > 0) {
    const more = unknown.length > mostNamed ? ` and ${unknown.length - mostNamed} more` : ''
    notes.push(`Not known here, and left out: ${unknown.slice(0, mostNamed).map(shown).join(', ')}${more}.`)
  }
  return { values, notes }
}

const numbers = [
  ['Steps', 'steps'],
  ['CFG scale', 'guidance_scale'],
  ['Seed', 'seed'],
  ['Clip skip', 'clip_skip'],
] as const

/** As many digits as a number is written with. */
const share = /^\d?(\.\d{1,20})?(e-\d{1,2})?$/

/** Texts of which the form has a field with the same text. */
const texts = [
  ['Hires upscale', 'hires_scale', /^\d{1,2}(\.\d{1,20})?$/],
  ['Hires resize', 'hires_scale', /^\d{1,5}x\d{1,5}$/],
  ['Hires steps', 'hires_steps', /^\d{1,4}$/],
  ['Packshot pace', 'pace', /^(?:quick|instant)$/],
  ['Packshot precision', 'precision', /^(?:exact|int8)$/],
  ['Packshot timesteps', 'timesteps', /^\d{1,3}( \d{1,3}){0,99}$/],
  ['Packshot guidance end', 'guidance_end', share],
  ['Eta', 'eta', share],
  ['Eta DDIM', 'eta', share],
] as const

/** What has a field here, and what says nothing that a field could. */
const known: ReadonlySet<string> = new Set([
  ...numbers.map(([name]) => name),
  ...texts.map(([name]) => name),
  'Hires upscaler',
  'Postprocess upscaler',
  'Packshot decoder',
  'Packshot finish',
  'Packshot tries',
  'Size',
  'Model',
  'Model hash',
  'VAE',
  'VAE hash',
  'Sampler',
  'Schedule type',
  'Packshot sampler',
  'Packshot schedule',
  'Denoising strength',
  'RNG',
  'Version',
  'Lora hashes',
  'TI hashes',
  'Hashes',
])

/** `Name: value, Name: "a value, quoted as JSON"`. Its cost grows with the length alone: what follows a colon always matches. */
function settingsIn(line: string): Map<string, string> {
  const settings = new Map<string, string>()
  for (const [, name = '', value = ''] of line.matchAll(
    /([\w /()-]{1,60}):\s*("(?:\\.|[^\\"])*"|[^,]*)(?:,|$)/g,
  )) {
    settings.set(name.trim(), unquoted(value.trim()))
  }
  return settings
}

function unquoted(value: string): string {
  if (!value.startsWith('"')) return value
  try {
    return String(JSON.parse(value))
  } catch {
    return value
  }
}

/** Names that an installation may have or not. */
function named(
  settings: ReadonlyMap<string, string>,
  offer: Offer,
  values: Record<string, string>,
  notes: string[],
): void {
  const wanted = settings.get('Model')
  const model = wanted === undefined ? undefined : findNamed(offer.models, wanted)
  if (model !== undefined) values.model = model.name
  else if (wanted !== undefined && wanted !== '') {
    notes.push(
      `The model ${shown(wanted)} is not here: ${offer.models[0]?.name} is chosen, and makes another picture.`,
    )
  }
  const used = model ?? offer.models[0]
  const sampler = settings.get('Packshot sampler') ?? settings.get('Sampler')
  const schedule = settings.get('Packshot schedule') ?? settings.get('Schedule type')
  const found = sampler === undefined ? undefined : offer.samplers.parse(sampler)
  if (found !== undefined) values.sampler = found.sampler
  else if (sampler !== undefined) notes.push(`The sampler ${shown(sampler)} is not here.`)
  const spacing = schedule === undefined ? found?.schedule : offer.samplers.parseSchedule(schedule)
  if (spacing !== undefined && spacing !== 'automatic') values.schedule = spacing
  else if (schedule !== undefined && spacing === undefined)
    notes.push(`The schedule ${shown(schedule)} is not here.`)
  const vae = settings.get('VAE')
  const vaes = used === undefined ? [] : namesFor(used, offer.vaes)
  const fits =
    vae === undefined ? undefined : vaes.find((name) => name === vae || name === vae.replace(/\.\w+$/, ''))
  if (fits !== undefined) values.vae = fits
  else if (vae !== undefined) notes.push(`The VAE ${shown(vae)} is not here.`)
  const isHires = values.hires_scale !== undefined
  const strength = settings.get('Denoising strength')
  if (isHires && strength !== undefined && share.test(strength)) values.hires_strength = strength
  for (const [name, field, kind, offered] of [
    ['Hires upscaler', 'hires_upscaler', 'upscaler', offer.upscalers],
    ['Postprocess upscaler', 'upscaler', 'upscaler', offer.upscalers],
    ['Packshot decoder', 'decoder', 'tiny VAE', offer.tiny_vaes],
  ] as const) {
    const wanted = settings.get(name)
    if (wanted === undefined || wanted === 'Lanczos') continue
    const there = findNamed(offered ?? [], wanted)
    if (there !== undefined) values[field] = there.name
    else notes.push(`The ${kind} ${shown(wanted)} is not here.`)
  }
  if (settings.has('Denoising strength') && !isHires) {
    notes.push('It was made from a photo, which a picture does not carry: choose it again.')
  }
  const loras = used === undefined ? [] : namesFor(used, offer.loras)
  for (const name of tagsIn(values.prompt ?? '').slice(0, mostNamed)) {
    if (!loras.some((each) => name.includes(each))) notes.push(`${shown(name)} in its words is not here.`)
  }
}

/** How it was delivered; the words say the scene, which a colour may be laid over. */
function finished(
  settings: ReadonlyMap<string, string>,
  { models }: Offer,
  values: Record<string, string>,
  notes: string[],
): void {
  const [tries, text] = [Number(settings.get('Packshot tries')), settings.get('Packshot finish')]
  const gate = tries >= 1 && tries <= finishLimits.maxTries ? { tries } : undefined
  const found = text === undefined ? undefined : parsed(text)
  const isOwn = typeof found === 'object' && found !== null && !('background' in found)
  const whole = isOwn ? { ...found, background: 'as_made' } : found
  const finish = Value.Check(Finish, whole) ? whole : undefined
  if (isOwn && finish !== undefined)
    notes.push('Its background was a picture of its own, which it does not carry: choose one again.')
  else if (text !== undefined && finish === undefined)
    notes.push('How it was finished is not understood here, and left out.')
  const { controls } = findNamed(models, values.model ?? '') ?? models[0] ?? {}
  const { background } = fromWords(values.prompt ?? '', controls)
  const [width, height] = [Number(values.width), Number(values.height)]
  const texts = finishTexts({ ...(finish && { finish }), ...(gate && { gate }), width, height }, background)
  const { finish_zoom: fill, ...others } = texts
  // what will be chosen in place of the own background is laid on
  Object.assign(values, isOwn && fill !== undefined ? { ...others, finish_fill: fill } : texts)
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function shown(text: string): string {
  return text.length > longestName ? `${text.slice(0, longestName)}...` : text
}
