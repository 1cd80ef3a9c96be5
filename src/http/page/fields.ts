import type { FieldName, FormValues } from './form-values.ts'
import { type Html, html } from './html.ts'

/**
 * The fields of the form. Each has a label, a help text and, if it is invalid, an error; the control names both
 * in `aria-describedby`, so that they are read out with it.
 */

export interface FieldContext {
  readonly values: FormValues
  readonly errors: Readonly<Partial<Record<FieldName | 'form', string>>>
  /** The field to focus: the first invalid one, or the prompt of a form that a link filled in. */
  readonly focus: FieldName | undefined
}

interface Option {
  readonly value: string
  readonly label: string
  /** For a sampler: the schedules that may be chosen with it. */
  readonly schedules?: readonly string[]
  /** For a sampler: how often it calls the model in each step. */
  readonly calls?: number
  /** What a script sets with it, as `data-` attributes; absent ones are not written. */
  readonly data?: Readonly<Record<string, string | number | undefined>>
}

interface Field {
  readonly name: FieldName
  readonly label: string
  readonly help?: Html
}

export function textField(
  context: FieldContext,
  field: Field & { maxLength: number; rows: number; placeholder?: string; required?: boolean },
): Html {
  const counter = html`<span class="counter" data-counter-for="${field.name}" hidden></span>`
  // A line break after the opening tag is dropped by the parser: without it one typed first would be lost.
  const control = html`<textarea id="${field.name}" name="${field.name}" rows="${field.rows}" maxlength="${field.maxLength}"${placeholder(field.placeholder)}${field.required && html` aria-required="true"`} dir="auto" autocapitalize="none" enterkeyhint="go"${common(context, field)}>
${context.values[field.name]}</textarea>`
  return wrap(context, field, control, counter)
}

export function numberField(
  context: FieldContext,
  field: Field & { min: number; max: number; step: number | 'any'; placeholder?: string },
): Html {
  const mode = field.step === 'any' ? 'decimal' : 'numeric'
  return wrap(
    context,
    field,
    html`<input id="${field.name}" name="${field.name}" type="${numberType(context, field)}" inputmode="${mode}" min="${field.min}" max="${field.max}" step="${field.step}" value="${context.values[field.name]}" autocomplete="off"${placeholder(field.placeholder)}${common(context, field)}>`,
  )
}

export function lineField(
  context: FieldContext,
  field: Field & { maxLength: number; placeholder?: string; after?: Html | false },
): Html {
  const control = html`<input id="${field.name}" name="${field.name}" type="text" maxlength="${field.maxLength}" value="${context.values[field.name]}" autocomplete="off" autocapitalize="none" spellcheck="false"${placeholder(field.placeholder)}${common(context, field)}>`
  return wrap(context, field, control, field.after)
}

/**
 * A slider with its value in per cent; the value is written by form.js, and without it read from the slider.
 * @param field.of what 100 % is: 1 for a share, 100 for a number of per cent
 */
export function percentField(
  context: FieldContext,
  field: Field & { min: number; max: number; step: number; of?: 1 | 100 },
): Html {
  const value = context.values[field.name]
  const shown = Math.round((Number(value) * 100) / (field.of ?? 1))
  const control = html`<div class="percent"><input id="${field.name}" name="${field.name}" type="range" min="${field.min}" max="${field.max}" step="${field.step}" value="${value}"${common(context, field)}><output for="${field.name}">${shown} %</output></div>`
  return wrap(context, field, control)
}

/**
 * A few choices side by side: radio buttons, so that it works without JavaScript. The text stands before its button:
 * Materialize draws one of its own beside a text that follows.
 */
export function segments(
  context: FieldContext,
  field: Field & { readonly options: readonly Option[] },
): Html {
  const { name, label, help, options } = field
  const { value: chosen } = options.find(({ value }) => value === context.values[name]) ??
    options[0] ?? { value: '' }
  const error = errorOf(context, name)
  const segment = ({ value, label, data = {} }: Option) => {
    const focus = value === chosen && context.focus === name
    return html`<label class="segment"><span>${label}</span><input class="visually-hidden" type="radio" name="${name}" value="${value}"${Object.entries(data).map(([key, each]) => each !== undefined && html` data-${key}="${each}"`)}${value === chosen && html` checked`}${focus && html` autofocus`}></label>`
  }
  return html`<fieldset class="segments${error && ' is-wrong'}"${error && html` aria-describedby="${name}-error"`}>
<legend>${label}</legend>
<div class="segment-row">${options.map(segment)}</div>
${error}${help && html`<p class="field-help">${help}</p>`}
</fieldset>`
}

/** The error of a field whose control the page shows in its own way. */
export function errorOf(context: FieldContext, name: FieldName): Html | false {
  const error = context.errors[name]
  return error !== undefined && html`<p class="field-error" id="${name}-error">${error}</p>`
}

/** A number field shows nothing for invalid text; a text field then keeps what was typed. */
function numberType(context: FieldContext, field: Field): 'number' | 'text' {
  const value = context.values[field.name].trim()
  return value === '' || /^-?\d+(\.\d+)?$/.test(value) ? 'number' : 'text'
}

export function choice(
  context: FieldContext,
  field: Field & { options: readonly Option[]; attributes?: Html },
): Html {
  const chosen = context.values[field.name]
  const options = field.options.map(
    ({ value, label, schedules, calls }) =>
      html`<option value="${value}"${schedules && html` data-schedules="${schedules.join(' ')}"`}${calls !== undefined && html` data-calls="${calls}"`}${value === chosen && html` selected`}>${label}</option>`,
  )
  const foreign = !field.options.some(({ value }) => value === chosen) && chosen !== ''
  return wrap(
    context,
    field,
    html`<select id="${field.name}" name="${field.name}" class="browser-default"${common(context, field)}${field.attributes}>${options}${foreign && html`<option value="${chosen}" selected>${chosen}</option>`}</select>`,
  )
}

function wrap(context: FieldContext, field: Field, control: Html, extra?: Html | false): Html {
  const error = context.errors[field.name]
  return html`<div class="field${error !== undefined && ' is-wrong'}">
<label for="${field.name}">${field.label}</label>
${control}
<div class="field-notes">${error !== undefined && html`<p class="field-error" id="${field.name}-error">${error}</p>`}${field.help && html`<p class="field-help" id="${field.name}-help">${field.help}</p>`}${extra}</div>
</div>`
}

function common(context: FieldContext, field: Field): Html {
  const wrong = context.errors[field.name] !== undefined
  const notes = [wrong && `${field.name}-error`, field.help && `${field.name}-help`].filter(
    (note) => typeof note === 'string',
  )
  return html`${notes.length > 0 && html` aria-describedby="${notes.join(' ')}"`}${wrong && html` aria-invalid="true"`}${context.focus === field.name && html` autofocus`}`
}

function placeholder(text: string | undefined): Html | false {
  return text !== undefined && html` placeholder="${text}"`
}
