import type { Fault } from '../errors.ts'
import { jobRequestSchema, type RequestLimits } from '../fields.ts'
import { nearest } from '../nearest.ts'
import { describeValue, listed } from '../wording.ts'

/**
 * A template: fields of a job with `{column}` in their texts. `{{` and `}}` are braces. `{row}` and `{variant}` are
 * numbers, counted from 1, `{set}` is the name of the set and, in file names, `{seed}` the seed, unless the list has columns
 * of these names.
 */

/** Fills a template for one row. @param seed known for file names alone */
export type Fill<T> = (cells: readonly string[], row: number, variant: number, seed?: number) => T

interface Part {
  /** The text before the place. */
  readonly before: string
  readonly place: Fill<string> | undefined
}

/** What can be wrong with a template whatever the row. */
type Problems = (fault: Fault) => void

export interface TemplateOptions {
  readonly columns: readonly string[]
  readonly note: Problems
  /** How a row's number is written. */
  readonly rowDigits: number
  /** The name of the set; absent: the run has none. */
  readonly set?: string
  /** The seed is known when this is filled. */
  readonly seeded?: boolean
}

/** @param param the name of the field, for faults */
export function compileText(
  param: string,
  text: string,
  options: TemplateOptions,
): { readonly fill: Fill<string>; readonly uses: ReadonlySet<string> } {
  const uses = new Set<string>()
  const parts: Part[] = []
  let before = ''
  for (const [token, name] of text.matchAll(/\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+/g)) {
    if (token === '{{' || token === '}}') before += token[0]
    else if (token === '{' || token === '}') {
      options.note({
        param,
        message: `${param} has a single ${token}: write {column} for a cell, and {{ or }} for a brace.`,
      })
    } else if (name === undefined) before += token
    else {
      uses.add(name.trim())
      parts.push({ before, place: placeOf(param, name.trim(), options) })
      before = ''
    }
  }
  parts.push({ before, place: undefined })
  const fill: Fill<string> = (...row) => {
    let filled = ''
    for (const part of parts) filled += part.before + (part.place?.(...row) ?? '')
    return filled
  }
  return { fill, uses }
}

function placeOf(param: string, name: string, options: TemplateOptions): Part['place'] {
  const { columns, note, rowDigits, set, seeded } = options
  const column = columns.indexOf(name)
  if (column >= 0) return (cells) => cells[column] ?? ''
  if (name === 'row') return (_cells, row) => String(row).padStart(rowDigits, '0')
  if (name === 'variant') return (_cells, _row, variant) => String(variant)
  if (name === 'set' && set !== undefined) return () => set
  if (name === 'seed' && seeded === true) return (_cells, _row, _variant, seed = 0) => String(seed)
  const close = nearest(name, columns)
  const hint = close === undefined ? `The columns are ${listed(columns)}.` : `Did you mean {${close}}?`
  note({ param, message: `${param} names the column ${describeValue(name)}, which the list lacks. ${hint}` })
  return undefined
}

interface Template {
  readonly fill: Fill<Record<string, unknown>>
  /** Whether the fields of a row differ between its variants. */
  readonly usesVariant: boolean
  /** Whether it gives this picture a seed. */
  readonly fixesSeed: Fill<boolean>
}

/** Fields of a job, filled: a text that becomes empty is left out, and one of a number becomes that number. */
export function compileTemplate(
  template: Readonly<Record<string, unknown>>,
  limits: RequestLimits,
  options: TemplateOptions,
): Template {
  const schemas: Record<string, object> = jobRequestSchema(limits).properties
  const fields = Object.entries(template).map(([name, value]) => {
    const type = (schemas[name] as { type?: unknown } | undefined)?.type
    const isNumber = type === 'integer' || type === 'number'
    return [name, compileValue(name, value, isNumber, options)] as const
  })
  const usesVariant = /\{\s*variant\s*\}/.test(JSON.stringify(template))
  const fill: Fill<Record<string, unknown>> = (cells, row, variant) => {
    const body: Record<string, unknown> = {}
    for (const [name, fill] of fields) {
      const value = fill(cells, row, variant)
      if (value !== '' || name === 'prompt') body[name] = value
    }
    return body
  }
  const seed = fields.find(([name]) => name === 'seed')?.[1]
  const fixesSeed: Fill<boolean> = (...row) => seed !== undefined && seed(...row) !== ''
  return { fill, usesVariant, fixesSeed }
}

/** Numbers in the objects of a field: of LoRAs, `finish` and `gate`. */
const numbersInside =
  /strength$|^(?:scale|steps|fill|width|height|margin|top|right|bottom|left|max_bytes|tries)$/

function compileValue(
  param: string,
  value: unknown,
  isNumber: boolean,
  options: TemplateOptions,
): Fill<unknown> {
  if (typeof value === 'string') {
    const { fill } = compileText(param, value, options)
    if (!isNumber) return fill
    return (...row) => {
      const text = fill(...row).trim()
      return /^[+-]?(\d+\.?\d*|\.\d+)$/.test(text) ? Number(text) : text
    }
  }
  if (Array.isArray(value)) {
    const entries = value.map((each) => compileValue(param, each, false, options))
    return (...row) => entries.map((fill) => fill(...row))
  }
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value).map(
      ([name, each]) => [name, compileValue(param, each, numbersInside.test(name), options)] as const,
    )
    return (...row) => Object.fromEntries(entries.map(([name, fill]) => [name, fill(...row)]))
  }
  return () => value
}
