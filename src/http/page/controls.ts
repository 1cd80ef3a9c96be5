import type { ModelInfo } from '../../jobs/offer.ts'
import { type FieldContext, segments } from './fields.ts'
import { type Html, html } from './html.ts'

/** Light, view and number, for a model that names the words it was trained on. Without them a description says it all. */
export function controlFields(fields: FieldContext, { controls }: ModelInfo): Html | false {
  if (controls === undefined) return false
  const field = (
    name: 'light' | 'view' | 'many',
    label: string,
    words: Readonly<Record<string, string>> = {},
  ) => {
    const names = Object.keys(words)
    const options = [
      { value: '', label: 'As described' },
      ...names.map((each) => ({ value: each, label: each })),
    ]
    return names.length > 0 && segments(fields, { name, label, options })
  }
  return html`${field('light', 'Light', controls.light)}${field('view', 'View', controls.view)}${field('many', 'How many', controls.count)}`
}
