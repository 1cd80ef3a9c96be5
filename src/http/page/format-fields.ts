import { imageFormats } from '../../jobs/fields.ts'
import { choice, type FieldContext, segments } from './fields.ts'
import { type Html, html } from './html.ts'

interface Option {
  readonly value: string
  readonly label: string
}

/** What is delivered: its shape and pixels, and the file. */
export function formatFields(fields: FieldContext, sizes: readonly Option[]): Html {
  const files = imageFormats.map((value) => ({ value, label: value.toUpperCase() }))
  return html`${choice(fields, { name: 'size', label: 'Size', options: sizes })}
${segments(fields, { name: 'format', label: 'File', options: files })}`
}
