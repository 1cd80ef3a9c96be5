import type { ModelInfo, Offer, SamplerInfo } from '../../jobs/offer.ts'
import type { UploadLimits } from '../../jobs/ports.ts'
import type { RequestLimits } from '../../jobs/request/schema.ts'
import { defaultStrength } from '../../jobs/request/schema.ts'
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
  /** What is wrong, by field; `form` is for what no field is to blame for. */
  readonly errors: Readonly<Partial<Record<FieldName | 'form', string>>>
  /** Whether the form was filled in by a link; the prompt is then where one goes on. */
  readonly prefilled: boolean
}

export interface PageOffer extends Offer {
  readonly limits: RequestLimits
  readonly uploadLimits: UploadLimits
}

/** The form that asks for pictures. It is a fragment of its own: with faults it comes back in its own place. */
export function requestForm(offer: PageOffer, state: FormState): Html {
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
${examples(model, state.values.model)}
${backgroundField(fields)}
${photo(fields, model, offer.uploadLimits)}
<div class="field-row">
${choice(fields, { name: 'size', label: 'Size', options: sizeOptions(offer, model) })}
${choice(fields, { name: 'count', label: 'Pictures', options: countOptions(limits) })}
</div>
${moreSettings(offer, fields, state, model)}
<div class="shutter-bar"><button class="btn filled shutter" type="submit">${cameraIcon()}<span class="shutter-idle">Take the picture</span><span class="shutter-busy">Sending…</span></button></div>
</form>`
}

function moreSettings(offer: PageOffer, fields: FieldContext, state: FormState, model: ModelInfo): Html {
  const { limits, models } = offer
  const [sampler] = offer.samplers.of(model)
  const open = advancedFields.some((name) => differs(state, fields, model, sampler, name))
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
${chips('Words this studio knows', 'negative_prompt', namesFor(model, offer.embeddings))}
${loras(offer, fields, model)}
<div class="field-row">
${numberField(fields, { name: 'steps', label: 'Steps', help: html`More is finer and slower.`, min: 1, max: limits.maxSteps, step: 1 })}
${numberField(fields, { name: 'guidance_scale', label: 'Guidance', help: html`How closely to follow the words.`, min: 0, max: limits.maxGuidanceScale, step: 'any' })}
</div>
${numberField(fields, { name: 'seed', label: 'Seed', help: html`The same seed and settings give the same picture. Empty: a new one every time.`, min: 0, max: limits.maxSeed, step: 1, placeholder: 'random' })}
<div class="field-row">
${numberField(fields, { name: 'width', label: 'Own width', ...size })}
${numberField(fields, { name: 'height', label: 'Own height', help: html`In pixels, multiples of ${model.size_multiple}.`, ...size })}
</div>
${samplers(fields, offer.samplers.of(model))}
<div class="field-row">
${vaes(fields, namesFor(model, offer.vaes))}
${numberField(fields, { name: 'clip_skip', label: 'Clip skip', help: html`1 is the last layer.`, min: 1, max: Math.min(limits.maxClipSkip, model.clip_layers), step: 1, placeholder: '1' })}
</div>
${modelChoice(fields, models)}
</div>
</details>`
}

/** A list of one is no choice. */
function modelChoice(fields: FieldContext, models: readonly ModelInfo[]): Html | false {
  const options = models.map(({ name, inpainting }) => ({
    value: name,
    label: inpainting ? `${name} (fills in)` : name,
  }))
  return models.length > 1 && choice(fields, { name: 'model', label: 'Model', options })
}

/** The schedules of all samplers; form.js shows those of the chosen one. */
function samplers(fields: FieldContext, offered: readonly SamplerInfo[]): Html | false {
  const schedules = [...new Set(offered.flatMap((sampler) => sampler.schedules))]
  const options = offered.map(({ name, label, schedules }) => ({ value: name, label, schedules }))
  const spacings = [{ value: '', label: 'automatic' }, ...schedules.map((value) => ({ value, label: value }))]
  const sampler = offered.length > 1 && choice(fields, { name: 'sampler', label: 'Sampler', options })
  const schedule =
    schedules.length > 1 && choice(fields, { name: 'schedule', label: 'Schedule', options: spacings })
  return (sampler || schedule) && html`<div class="field-row">${sampler}${schedule}</div>`
}

function vaes(fields: FieldContext, names: readonly string[]): Html | false {
  const options = [{ value: '', label: 'its own' }, ...names.map((value) => ({ value, label: value }))]
  return names.length > 0 && choice(fields, { name: 'vae', label: 'VAE', options })
}

function loras(offer: PageOffer, fields: FieldContext, model: ModelInfo): Html | false {
  const names = namesFor(model, offer.loras)
  if (names.length === 0) return false
  return html`${lineField(fields, {
    name: 'loras',
    label: 'LoRAs',
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

function namesFor({ family }: ModelInfo, addOns: Offer['loras']): readonly string[] {
  return addOns.filter((each) => each.family === family).map(({ name }) => name)
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

/** The values shown: what was said, else the model's defaults. A size of the list is chosen there. */
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
    sampler: values.sampler || (offer.samplers.of(model)[0]?.name ?? ''),
  }
  const focus = fieldNames.find((name) => errors[name] !== undefined) ?? (prefilled ? 'prompt' : undefined)
  return { values: shown, errors, focus }
}

/** Whether a field of "More settings" says something that must not stay hidden. */
function differs(
  state: FormState,
  fields: FieldContext,
  model: ModelInfo,
  sampler: SamplerInfo | undefined,
  name: (typeof advancedFields)[number],
): boolean {
  const value = state.values[name]
  if (state.errors[name] !== undefined) return true
  if (name === 'width' || name === 'height') return fields.values[name] !== ''
  if (value === '') return false
  if (name === 'steps' || name === 'guidance_scale') return value !== String(model[name])
  if (name === 'sampler' || name === 'schedule') return !isDefault(state.values, sampler)
  return name !== 'model'
}

/** Whether a form asks for what it would get anyway: a recipe names the sampler and schedule that were the default. */
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
