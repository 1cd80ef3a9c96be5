import type { TSchema } from 'typebox'
import { withoutComments } from './prompt-tags.ts'

/** The wording of a fault in a request: what was expected, and what was given. */

const longestQuote = 60

/** A value as shown to its sender: short, on one line, without control characters. */
export function describeValue(value: unknown): string {
  if (value === undefined) return 'missing'
  if (value === null) return 'null'
  if (Array.isArray(value)) return `a list of ${value.length}`
  if (typeof value === 'object') return 'an object'
  if (typeof value === 'string') return describeText(value)
  return String(value)
}

function describeText(text: string): string {
  if (text === '') return 'empty'
  const characters = [...text.toWellFormed()]
  const start = JSON.stringify(characters.slice(0, longestQuote).join(''))
  return characters.length <= longestQuote ? start : `${start}... (${characters.length} characters)`
}

/** What a schema requires, as the end of the sentence "steps must be ...". Its limits are read from the schema. */
export function expectation(schema: TSchema): string {
  const {
    type,
    minimum,
    maximum,
    minLength,
    maxLength,
    enum: choices,
    exclusiveMinimum,
    maxItems,
  } = schema as Partial<Record<string, unknown>>
  if (Array.isArray(choices)) return `one of ${choices.join(', ')}`
  if ('const' in schema) return JSON.stringify(schema.const)
  if (type === 'integer') return `a whole number${range(minimum, maximum)}`
  if (exclusiveMinimum !== undefined) return `a number above ${exclusiveMinimum} and at most ${maximum}`
  if (maxItems !== undefined) return `a list of at most ${maxItems}`
  if (type === 'number') return `a number${range(minimum, maximum)}`
  if (minLength !== undefined) return `text of ${minLength} to ${maxLength} characters`
  return maxLength === undefined ? 'text' : `text of at most ${maxLength} characters`
}

const mostListed = 30

/** Names as the end of "one of ...": all of them, unless they are too many to read. */
export function listed(names: readonly string[]): string {
  const shown = names.slice(0, mostListed).join(', ')
  return names.length <= mostListed ? shown : `${shown} and ${names.length - mostListed} more`
}

function range(minimum: unknown, maximum: unknown): string {
  return minimum === undefined ? '' : ` from ${minimum} to ${maximum}`
}

/** Whether a text has only spaces, control characters and invisible marks (such as U+200B). */
export function isBlank(text: string): boolean {
  return /^[\s\p{Z}\p{Cc}\p{Cf}]*$/u.test(text)
}

/**
 * A prompt in Unicode's composed form (NFC), trimmed, without comments, with line breaks and tabs as spaces; empty when nothing of it is
 * visible. `fault` is the end of the sentence "prompt ..." for a text with other control characters (they have no
 * meaning to a model, and harm logs and terminals) or with half a character (it has no UTF-8 form).
 */
export function cleanText(value: string): { text?: string; fault?: string } {
  if (!value.isWellFormed()) return { fault: 'must be valid Unicode, but contains half of a surrogate pair.' }
  const text = withoutComments(value)
    .replace(/[\t\n\r\u2028\u2029]+/gu, ' ')
    .normalize('NFC')
    .trim()
  const control = /\p{Cc}/u.exec(text)
  if (control === null) return { text: isBlank(text) ? '' : text }
  const code = text.codePointAt(control.index) ?? 0
  const name = `U+${code.toString(16).toUpperCase().padStart(4, '0')}`
  return {
    fault: `must not contain control characters, but contains ${name} at character ${control.index + 1}.`,
  }
}
