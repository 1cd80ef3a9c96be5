import type { ModelInfo } from '../../jobs/ports.ts'
import type { RequestLimits } from '../../jobs/request.ts'
import { choice, type FieldContext, numberField, textField } from './fields.ts'
import { advancedFields, type FieldName, type FormValues } from './form-values.ts'
import { type Html, html } from './html.ts'
import { cameraIcon, settingsIcon, warningIcon } from './icons.ts'
import { offeredSizes, sizeName } from './sizes.ts'

export interface FormState {
  readonly values: FormValues
  /** What is wrong, by field; `form` is for what no field is to blame for. */
  readonly errors: Readonly<Partial<Record<FieldName | 'form', string>>>
  /** Whether the form was filled in by a link; the prompt is then where one goes on. */
  readonly prefilled: boolean
}

export interface Offer {
  readonly models: readonly ModelInfo[]
  readonly limits: RequestLimits
}

/** Kinds and colours that the built-in model knows; other models know them too. */
const examples = [
  'a red apple',
  'a green wine bottle',
  'a pink doughnut',
  'a yellow mug on a blue background',
]

/** The form that asks for pictures. It is a fragment of its own: with faults it comes back in its own place. */
export function requestForm(offer: Offer, state: FormState): Html {
  const { limits } = offer
  const model = chosenModel(offer, state.values)
  const fields = fieldContext(offer, state, model)
  return html`<form id="request" class="card request" method="post" action="/jobs" novalidate aria-labelledby="request-title" hx-post="/jobs" hx-target="#jobs" hx-swap="afterbegin" hx-sync="this:drop">
<h2 id="request-title" class="visually-hidden">What to show</h2>
${formError(state.errors.form)}
${textField(fields, {
  name: 'prompt',
  label: 'What should be in the picture?',
  help: html`<span class="keys-help">Enter sends, Shift + Enter starts a new line.</span>`,
  maxLength: limits.promptCharacters,
  placeholder: 'a red apple on a white background',
  rows: 3,
  required: true,
})}
<p class="examples"><span class="examples-label">Try</span> ${examples.map(example)}</p>
<div class="field-row">
${choice(fields, { name: 'size', label: 'Size', options: sizeOptions(offer, model) })}
${choice(fields, { name: 'count', label: 'Pictures', options: countOptions(limits) })}
</div>
${moreSettings(offer, fields, state, model)}
<button class="btn filled shutter" type="submit">${cameraIcon()}<span class="shutter-idle">Take the picture</span><span class="shutter-busy">Sending…</span></button>
</form>`
}

function moreSettings(offer: Offer, fields: FieldContext, state: FormState, model: ModelInfo): Html {
  const { limits, models } = offer
  const open = advancedFields.some((name) => differs(state, fields, model, name))
  const size = {
    min: limits.minSize,
    max: limits.maxSize,
    step: model.size_multiple,
    placeholder: 'as above',
  }
  return html`<details class="more"${open && html` open`}>
<summary>${settingsIcon()}<span>More settings</span></summary>
<div class="more-body">
${textField(fields, {
  name: 'negative_prompt',
  label: 'What to keep out of it',
  help: html`For example: blurry, text, dark shadows.`,
  maxLength: limits.promptCharacters,
  rows: 2,
})}
<div class="field-row">
${numberField(fields, { name: 'steps', label: 'Steps', help: html`More is finer and slower.`, min: 1, max: limits.maxSteps, step: 1 })}
${numberField(fields, { name: 'guidance_scale', label: 'Guidance', help: html`How closely to follow the words.`, min: 0, max: limits.maxGuidanceScale, step: 'any' })}
</div>
${numberField(fields, { name: 'seed', label: 'Seed', help: html`The same seed and settings give the same picture. Empty: a new one every time.`, min: 0, max: limits.maxSeed, step: 1, placeholder: 'random' })}
<div class="field-row">
${numberField(fields, { name: 'width', label: 'Own width', ...size })}
${numberField(fields, { name: 'height', label: 'Own height', help: html`In pixels, multiples of ${model.size_multiple}.`, ...size })}
</div>
${listChoice(fields, 'sampler', 'Sampler', model.samplers)}
${listChoice(fields, 'schedule', 'Schedule', model.schedules)}
${listChoice(
  fields,
  'model',
  'Model',
  models.map(({ name }) => name),
)}
</div>
</details>`
}

/** A list of one is no choice. */
function listChoice(
  fields: FieldContext,
  name: 'sampler' | 'schedule' | 'model',
  label: string,
  offered: readonly string[],
): Html | false {
  return (
    offered.length > 1 &&
    choice(fields, { name, label, options: offered.map((value) => ({ value, label: value })) })
  )
}

function example(prompt: string): Html {
  return html`<a class="example" href="/?${new URLSearchParams({ prompt }).toString()}" data-fill>${prompt}</a> `
}

function formError(message: string | undefined): Html | false {
  return (
    message !== undefined &&
    html`<p class="form-error" role="alert">${warningIcon()}<span>${message}</span></p>`
  )
}

function chosenModel({ models }: Offer, values: FormValues): ModelInfo {
  const model = models.find(({ name }) => name === values.model) ?? models[0]
  if (model === undefined) throw new Error('an installation without a model has no form')
  return model
}

/** The values shown: what was said, else the model's defaults. A size of the list is chosen there. */
function fieldContext(offer: Offer, state: FormState, model: ModelInfo): FieldContext {
  const { values, errors, prefilled } = state
  const custom = { width: Number(values.width), height: Number(values.height) }
  const listed = offeredSizes(model, offer.limits).some((size) => sizeName(size) === sizeName(custom))
  const shown = {
    ...values,
    size: listed ? sizeName(custom) : values.size || sizeName(model),
    width: listed ? '' : values.width,
    height: listed ? '' : values.height,
    count: values.count || '1',
    steps: values.steps || String(model.steps),
    guidance_scale: values.guidance_scale || String(model.guidance_scale),
  }
  const order = ['prompt', 'size', 'count', ...advancedFields] as const
  const focus = order.find((name) => errors[name] !== undefined) ?? (prefilled ? 'prompt' : undefined)
  return { values: shown, errors, focus }
}

/** Whether a field of "More settings" says something that must not stay hidden. */
function differs(
  state: FormState,
  fields: FieldContext,
  model: ModelInfo,
  name: (typeof advancedFields)[number],
): boolean {
  const value = state.values[name]
  if (state.errors[name] !== undefined) return true
  if (name === 'width' || name === 'height') return fields.values[name] !== ''
  if (value === '') return false
  if (name === 'steps' || name === 'guidance_scale') return value !== String(model[name])
  if (name === 'sampler' || name === 'schedule') return value !== model[`${name}s`][0]
  return name !== 'model'
}

function sizeOptions({ limits }: Offer, model: ModelInfo) {
  return offeredSizes(model, limits).map((size) => ({ value: sizeName(size), label: size.label }))
}

function countOptions({ maxCount }: RequestLimits) {
  return Array.from({ length: maxCount }, (_, index) => ({
    value: String(index + 1),
    label: String(index + 1),
  }))
}
