import type { TSchema } from 'typebox'
import {
  defaultStrength,
  type FormField,
  type FormFieldName,
  imageFormats,
  type RequestLimits,
  requestFields,
} from '../../jobs/fields.ts'
import { type ModelInfo, namesFor, type Offer, type SamplerInfo } from '../../jobs/offer.ts'
import type { UploadLimits } from '../../jobs/ports.ts'
import { examples } from './examples.ts'
import { choice, type FieldContext, lineField, numberField, textField } from './fields.ts'
import { advancedFields, type FieldName, type FormValues, fieldNames } from './form-values.ts'
import { type Html, html } from './html.ts'
import { cameraIcon, settingsIcon, warningIcon } from './icons.ts'
import { photo } from './photo.ts'
import { offeredSizes, sizeName } from './sizes.ts'
import { backgroundField } from './swatches.ts'

export interface FormState {
  readonly values: FormValues
  /** Faults by field; `form` is for those that belong to no field. */
  readonly errors: Readonly<Partial<Record<FieldName | 'form', string>>>
  /** Whether the form was filled in by a link; the prompt then gets the focus. */
  readonly prefilled: boolean
}

export interface PageOffer extends Offer {
  readonly limits: RequestLimits
  readonly uploadLimits: UploadLimits
  /** Whether there are catalogue runs. */
  readonly catalogues?: boolean
}

/** The request form. It is a fragment of its own: if it has faults, it is replaced in place. */
export function requestForm(offer: PageOffer, state: FormState): Html {
  const { limits } = offer
  const model = chosenModel(offer, state.values)
  const fields = fieldContext(offer, state, model)
  return html`<form id="request" class="card request" method="post" action="/jobs" novalidate aria-labelledby="request-title" hx-post="/jobs" hx-target="#jobs" hx-swap="afterbegin" hx-sync="this:drop">
<h2 id="request-title" class="visually-hidden">What to show</h2>
${modelChoice(fields, offer.models, model)}
${textField(fields, {
  ...textOf('prompt'),
  help: html`<span class="keys-help">Enter sends, Shift + Enter starts a new line.</span>`,
  maxLength: limits.promptCharacters,
  rows: 3,
  required: true,
})}
${examples(model, state.values.model)}
${backgroundField(fields)}
${photo(fields, model, offer.uploadLimits)}
<div class="field-row">
${choice(fields, { name: 'size', label: 'Size', options: sizeOptions(offer, model) })}
${choice(fields, { ...textOf('count'), options: countOptions(limits) })}
</div>
${moreSettings(offer, fields, state, model)}
<div class="shutter-bar">${formError(state.errors.form)}<button class="btn filled shutter" type="submit">${cameraIcon()}<span class="shutter-idle">Take the picture</span><span class="shutter-busy">Sending…</span></button></div>
</form>`
}

function moreSettings(offer: PageOffer, fields: FieldContext, state: FormState, model: ModelInfo): Html {
  const { limits } = offer
  const [sampler] = offer.samplers.of(model)
  const open = advancedFields.some((name) => differs(state, fields, model, sampler, name))
  const number = (name: FormFieldName, change: Partial<NumberRange> = {}) =>
    numberField(fields, { ...textOf(name), ...rangeOf(name, limits), ...change })
  const size = { step: model.size_multiple }
  return html`<details class="more"${open && html` open`}>
<summary>${settingsIcon()}<span>More settings</span></summary>
<div class="more-body">
${textField(fields, {
  ...textOf('negative_prompt'),
  maxLength: limits.promptCharacters,
  rows: 2,
})}
${chips('Words this studio knows', 'negative_prompt', namesFor(model, offer.embeddings))}
${loras(offer, fields, model)}
<div class="field-row">
${number('steps')}
${number('guidance_scale')}
</div>
${number('seed')}
<div class="field-row">
${number('width', size)}
${number('height', { ...size, help: html`In pixels, multiples of ${model.size_multiple}.` })}
</div>
${samplers(fields, offer.samplers.of(model))}
<div class="field-row">
${vaes(fields, model, namesFor(model, offer.vaes))}
${number('clip_skip', { max: Math.min(limits.maxClipSkip, model.clip_layers) })}
</div>
${others(fields, limits)}
</div>
</details>`
}

interface NumberRange {
  readonly min: number
  readonly max: number
  readonly step: number | 'any'
  readonly help: Html
}

/** A field's entry in the table, for a control. */
function textOf(name: FormFieldName) {
  const { label, help, placeholder }: FormField = requestFields[name].form
  return {
    name,
    label,
    ...(help === undefined ? {} : { help: html`${help}` }),
    ...(placeholder === undefined ? {} : { placeholder }),
  }
}

/** The range of a number field, from its schema. */
function rangeOf(name: FormFieldName, limits: RequestLimits): Omit<NumberRange, 'help'> {
  const { minimum, maximum, type } = schemaOf(name, limits)
  return { min: Number(minimum), max: Number(maximum), step: type === 'integer' ? 1 : 'any' }
}

function schemaOf(name: FormFieldName, limits: RequestLimits): Partial<Record<string, unknown>> {
  const schema: TSchema = requestFields[name].asked(limits)
  return schema as Partial<Record<string, unknown>>
}

/** The fields that have a place of their own below "More settings". */
const placed: readonly FormFieldName[] = [
  'negative_prompt',
  'loras',
  'steps',
  'guidance_scale',
  'seed',
  'width',
  'height',
  'sampler',
  'schedule',
  'vae',
  'clip_skip',
  'model',
]

/** All others, in the table's order. */
function others(fields: FieldContext, limits: RequestLimits): Html {
  const controls = advancedFields
    .filter((name) => !placed.includes(name))
    .map((name) => {
      if (requestFields[name].form.as === 'number')
        return numberField(fields, { ...textOf(name), ...rangeOf(name, limits) })
      const { enum: values } = schemaOf(name, limits) as { readonly enum?: readonly string[] }
      const options = (values ?? []).map((value) => ({ value, label: value.toUpperCase() }))
      return choice(fields, { ...textOf(name), options })
    })
  return html`<div class="field-row">${controls}</div>`
}

/**
 * First, since all other fields depend on it: when it changes, the form is renewed for the model (`forChosenModel`). The
 * button does that without JavaScript; a hidden one before it is what Enter presses. A list of one is not a choice.
 */
function modelChoice(
  fields: FieldContext,
  models: readonly ModelInfo[],
  { name, width, height }: ModelInfo,
): Html {
  const shown = html`<input type="hidden" name="shown_model" value="${name}">`
  if (models.length < 2) return shown
  const options = models.map(({ name, inpainting }) => ({
    value: name,
    label: inpainting ? `${name} (fills in)` : name,
  }))
  const attributes = html` hx-post="/form" hx-trigger="change" hx-target="#request" hx-swap="outerHTML" hx-sync="closest form:replace"`
  const help = html`Draws ${width} × ${height}. Its size, steps and lists follow when you change it.`
  return html`${shown}<div class="model-choice">${choice(fields, { ...textOf('model'), options, help, attributes })}<noscript><button type="submit" hidden></button><button class="btn tonal" type="submit" formaction="/form">Use this model</button></noscript></div>`
}

/** The schedules of all samplers; form.js shows those of the chosen one. */
function samplers(fields: FieldContext, offered: readonly SamplerInfo[]): Html | false {
  const schedules = [...new Set(offered.flatMap((sampler) => sampler.schedules))]
  const options = offered.map(({ name, label, schedules }) => ({ value: name, label, schedules }))
  const spacings = [{ value: '', label: 'automatic' }, ...schedules.map((value) => ({ value, label: value }))]
  const sampler = offered.length > 1 && choice(fields, { ...textOf('sampler'), options })
  const schedule = schedules.length > 1 && choice(fields, { ...textOf('schedule'), options: spacings })
  return (sampler || schedule) && html`<div class="field-row">${sampler}${schedule}</div>`
}

function vaes(fields: FieldContext, model: ModelInfo, names: readonly string[]): Html | false {
  const own = model.needs_vae === true ? [] : [{ value: '', label: 'its own' }]
  const options = [...own, ...names.map((value) => ({ value, label: value }))]
  return names.length > 0 && choice(fields, { ...textOf('vae'), options })
}

function loras(offer: PageOffer, fields: FieldContext, model: ModelInfo): Html | false {
  const names = namesFor(model, offer.loras)
  if (names.length === 0) return false
  return html`${lineField(fields, {
    ...textOf('loras'),
    help: html`Name and strength, with commas between: ${names[0]}:0.8`,
    maxLength: offer.limits.promptCharacters,
  })}${chips('LoRAs of this studio', 'loras', names)}`
}

/** Names to press instead of typing them into a field. */
function chips(label: string, field: FieldName, names: readonly string[]): Html | false {
  const buttons = names.map(
    (name) =>
      html`<button class="pick" type="button" data-chip="${field}" aria-pressed="false">${name}</button>`,
  )
  return (
    names.length > 0 && html`<div class="picks js-only" role="group" aria-label="${label}">${buttons}</div>`
  )
}

function formError(message: string | undefined): Html | false {
  return (
    message !== undefined &&
    html`<p class="form-error" role="alert">${warningIcon()}<span>${message}</span></p>`
  )
}

/** The model that the form asks for: the one that was chosen, or the default. */
export function chosenModel({ models }: PageOffer, values: FormValues): ModelInfo {
  const model = models.find(({ name }) => name === values.model) ?? models[0]
  if (model === undefined) throw new Error('an installation without a model has no form')
  return model
}

/** The values shown: those given, else the model's defaults. A size in the list is selected there. */
function fieldContext(offer: PageOffer, state: FormState, model: ModelInfo): FieldContext {
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
    strength: values.strength || String(defaultStrength),
    vae: values.vae || (model.default_vae ?? ''),
    sampler: values.sampler || (offer.samplers.of(model)[0]?.name ?? ''),
    format: values.format || imageFormats[0],
  }
  const focus = fieldNames.find((name) => errors[name] !== undefined) ?? (prefilled ? 'prompt' : undefined)
  return { values: shown, errors, focus }
}

/** Whether a field of "More settings" has a value or an error that must not stay hidden. */
function differs(
  state: FormState,
  fields: FieldContext,
  model: ModelInfo,
  sampler: SamplerInfo | undefined,
  name: FormFieldName,
): boolean {
  const value = state.values[name]
  if (state.errors[name] !== undefined) return true
  if (name === 'width' || name === 'height') return fields.values[name] !== ''
  if (value === '') return false
  if (name === 'steps' || name === 'guidance_scale') return value !== String(model[name])
  if (name === 'sampler' || name === 'schedule') return !isDefault(state.values, sampler)
  return name !== 'model' && !(name === 'format' && value === imageFormats[0])
}

/** Whether sampler and schedule are the defaults: a recipe names them even then. */
function isDefault({ sampler, schedule }: FormValues, first: SamplerInfo | undefined): boolean {
  return (
    (sampler || first?.name) === first?.name &&
    (schedule || first?.default_schedule) === first?.default_schedule
  )
}

function sizeOptions({ limits }: PageOffer, model: ModelInfo) {
  return offeredSizes(model, limits).map((size) => ({ value: sizeName(size), label: size.label }))
}

function countOptions({ maxCount }: RequestLimits) {
  return Array.from({ length: maxCount }, (_, index) => ({
    value: String(index + 1),
    label: String(index + 1),
  }))
}
