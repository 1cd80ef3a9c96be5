import { type Finish, finishPresets, type Margins } from '../../jobs/finish.ts'
import type { ResolvedRequest } from '../../jobs/job.ts'
import { finishes } from './backgrounds.ts'
import { ownFormat } from './format-fields.ts'

/** The fields of the form for `finish`, `gate` and what belongs to them, and back. */

export const finishFieldNames = [
  'finish_preset',
  'finish_background',
  'finish_colour',
  'finish_fill',
  'finish_width',
  'finish_height',
  'finish_shadow',
  'finish_zoom',
  'finish_margin',
  'finish_max_bytes',
  'gate_tries',
] as const
type FinishFieldName = (typeof finishFieldNames)[number]

type Values = Readonly<Record<FinishFieldName | 'background', string>>

/** The colour that is offered to begin with. */
export const firstColour = '#d9d4cb'

/**
 * `finish` and `gate` of a request. Fill and shadow always have a value in the form, so they count only where something
 * is finished: a format, a size, or a background that is laid on. A picture that keeps its background has a fill of its
 * own, `finish_zoom`, which may be empty. A scene that was chosen counts more than the
 * background of a format.
 */
export function finishOf(values: Values): Record<string, unknown> {
  const chosen = finishes.find(({ value }) => value === values.background)?.finish
  const laidOn = chosen === 'own' ? values.finish_colour || firstColour : chosen
  const scene = chosen === undefined && values.background !== '' ? 'as_made' : undefined
  const size = { width: number(values.finish_width), height: number(values.finish_height) }
  const format = values.finish_preset === ownFormat ? '' : values.finish_preset
  const asked =
    laidOn !== undefined ||
    values.finish_preset !== '' ||
    values.finish_background !== '' ||
    size.width !== undefined ||
    size.height !== undefined ||
    values.finish_zoom.trim() !== '' ||
    values.finish_margin.trim() !== ''
  const limit = maxBytes(values.finish_max_bytes)
  const background = laidOn ?? (values.finish_background || (asked ? scene : undefined))
  const isAsMade = (background ?? finishPresets[format]?.background) === 'as_made'
  const finish = {
    preset: format || undefined,
    background,
    fill: number(isAsMade ? values.finish_zoom : values.finish_fill),
    ...size,
    margin: marginOf(values.finish_margin),
    shadow: isAsMade ? undefined : values.finish_shadow || undefined,
    max_bytes: limit,
  }
  const given = Object.entries(finish).filter(([, value]) => value !== undefined)
  const tries = number(values.gate_tries)
  return {
    ...(asked ? { finish: Object.fromEntries(given) } : {}),
    // a limit of the file alone leaves the picture as it is
    ...(!asked && limit !== undefined ? { finish: { max_bytes: limit } } : {}),
    ...(tries === undefined ? {} : { gate: { tries } }),
  }
}

/**
 * The same fields from a request. A colour that was laid on over the plain white set is one of the finishes again.
 * @param scene the scene that the words of the request name
 */
export function finishTexts(settings: Partial<ResolvedRequest>, scene: string): Record<string, string> {
  const { finish, gate } = settings
  if (finish === undefined && gate === undefined) return {}
  const tries = gate === undefined ? {} : { gate_tries: String(gate.tries) }
  if (finish === undefined) return tries
  const text = (name: keyof Finish) => (finish[name] === undefined ? '' : String(finish[name]))
  const background = text('background')
  const preset = finishPresets[finish.preset ?? '']
  // the size of a format, or that of the picture as it was drawn, is not typed
  const usual = preset ?? settings
  const isUsual = usual.width === finish.width && usual.height === finish.height
  const fixed = finishes.find((each) => each.finish === background.toLowerCase())?.value
  const own = background.startsWith('#') ? 'colour' : undefined
  const laidOn = scene === 'white' ? (fixed ?? own) : undefined
  const texts = {
    finish_preset: text('preset') || (isUsual ? '' : ownFormat),
    // a scene leaves the picture as it was made, and says so itself
    finish_background: laidOn !== undefined || (scene !== '' && background === 'as_made') ? '' : background,
    finish_colour: laidOn === 'colour' ? background : '',
    finish_fill: background === 'as_made' ? '' : text('fill'),
    finish_zoom: background === 'as_made' ? text('fill') : '',
    finish_width: isUsual ? '' : text('width'),
    finish_height: isUsual ? '' : text('height'),
    finish_shadow: text('shadow'),
    finish_margin: marginText(finish.margin, preset?.margin),
    finish_max_bytes: sizeText(finish.max_bytes),
    ...tries,
    ...(laidOn === undefined ? {} : { background: laidOn }),
  }
  return Object.fromEntries(Object.entries(texts).filter(([, value]) => value !== ''))
}

const sides = ['top', 'right', 'bottom', 'left'] as const

/** "5" for all sides, or "5 10 5 10" for those at the top, right, bottom and left, as in CSS. */
function marginOf(text: string): unknown {
  const typed = text.trim()
  if (typed === '') return undefined
  const given = typed.split(/[\s,]+/).map(number)
  if (given.length === 1) return given[0]
  return given.length === sides.length
    ? Object.fromEntries(sides.map((side, index) => [side, given[index]]))
    : typed
}

/** The opposite; empty for the margin of the format, which is not typed. */
export function marginText(margin: Margins | undefined, usual: Margins = noMargin): string {
  if (margin === undefined || sides.every((side) => margin[side] === usual[side])) return ''
  const values = sides.map((side) => margin[side])
  return new Set(values).size === 1 ? String(values[0]) : values.join(' ')
}

const noMargin: Margins = { top: 0, right: 0, bottom: 0, left: 0 }

const unitBytes = { kb: 1e3, mb: 1e6 } as const

/** "800 KB" and "1.5 MB" in bytes; a number alone is bytes, as in the API. */
export function maxBytes(text: string): number | string | undefined {
  const [, amount, unit] = /^\s*(\d+(?:[.,]\d+)?)\s*(kb|mb)\s*$/i.exec(text) ?? []
  if (amount === undefined || unit === undefined) return number(text)
  return Math.round(
    Number(amount.replace(',', '.')) * unitBytes[unit.toLowerCase() as keyof typeof unitBytes],
  )
}

/** The opposite. */
export function sizeText(bytes: number | undefined): string {
  if (bytes === undefined) return ''
  if (bytes % 1e5 === 0 && bytes >= 1e6) return `${bytes / 1e6} MB`
  return bytes % 1e3 === 0 ? `${bytes / 1e3} KB` : String(bytes)
}

export function number(text: string): number | string | undefined {
  const trimmed = text.trim()
  if (trimmed === '') return undefined
  return /^\d+(\.\d+)?(e-?\d{1,2})?$/.test(trimmed) ? Number(trimmed) : trimmed
}
