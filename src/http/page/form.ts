import { defaultStrength, imageFormats, type RequestLimits } from '../../jobs/fields.ts'
import { defaultFill, finishPresets } from '../../jobs/finish.ts'
import type { ModelInfo, Offer } from '../../jobs/offer.ts'
import type { UploadLimits } from '../../jobs/ports.ts'
import type { Look } from '../../jobs/serving/workspace.ts'
import { controlFields } from './controls.ts'
import { type Pace, shutterWords } from './estimate.ts'
import { examples } from './examples.ts'
import { choice, type FieldContext, segments, textField } from './fields.ts'
import { fineTuning } from './fine-tuning.ts'
import { type FieldName, type FormValues, fieldNames } from './form-values.ts'
import { formatFields } from './format-fields.ts'
import { type Html, html } from './html.ts'
import { cameraIcon, warningIcon } from './icons.ts'
import { paceField } from './larger-fields.ts'
import { lookChips, saveLook } from './looks.ts'
import { photo } from './photo.ts'
import { offeredSizes, type Size, sizeName } from './sizes.ts'
import { setField } from './swatches.ts'

export interface FormState {
  readonly values: FormValues
  /** Faults by field; `form` is for those that belong to no field. */
  readonly errors: Readonly<Partial<Record<FieldName | 'form', string>>>
  /** Whether the form was filled in by a link; the prompt then gets the focus. */
  readonly prefilled: boolean
  /** Saved looks, and the one that the form was filled in with. Absent: none can be saved. */
  readonly looks?: readonly Look[]
  readonly look?: string
}

export interface PageOffer extends Offer {
  readonly limits: RequestLimits
  readonly uploadLimits: UploadLimits
  /** Whether there are catalogue runs. */
  readonly catalogues?: boolean
  /** Absent: the button names no time. */
  readonly pace?: Pace
}

/**
 * The request form: a panel whose fields scroll and whose button does not. It is a fragment of its own: if it has faults,
 * or for another model, it is replaced in place.
 */
export function requestForm(offer: PageOffer, state: FormState): Html {
  const { limits } = offer
  const model = chosenModel(offer, state.values)
  const fields = fieldContext(offer, state, model)
  return html`<form id="request" class="request" method="post" action="/jobs" novalidate aria-labelledby="request-title" hx-post="/jobs" hx-target="#jobs" hx-swap="afterbegin" hx-sync="this:drop"${paceOf(offer, model)}>
<h2 id="request-title" class="visually-hidden">What to show</h2>
<div class="panel-scroll" id="panel-scroll">
${lookChips(state.looks ?? [], state.look)}
${modelChoice(fields, offer.models, model)}
${product(offer, state, fields, model)}
${setField(fields)}
${controlFields(fields, model)}
${formatFields(fields, sizeOptions(offer, model), drawnSize(fields, model))}
${segments(fields, { name: 'count', label: 'Pictures', options: countOptions(limits) })}
${paceField(offer, fields, model)}
${fineTuning(offer, fields, state, model)}
${state.looks !== undefined && saveLook(state.looks, state.look)}
<p class="panel-note">Packshot makes its pictures on this server; your words go nowhere else. <a href="/workspace/device">Open on another device</a></p>
</div>
<div class="panel-foot">${formError(state.errors.form)}${shutter(offer, fields, model)}</div>
</form>`
}

/** What the product is: words, with a photo or without. The choice between the two is the page's own, and not sent. */
function product(offer: PageOffer, state: FormState, fields: FieldContext, model: ModelInfo): Html {
  const withPhoto = fields.values.init_image !== '' || state.errors.init_image !== undefined
  const tab = (value: string, label: string, checked: boolean) =>
    html`<label class="segment"><span>${label}</span><input class="visually-hidden" type="radio" name="source" value="${value}"${checked && html` checked`}></label>`
  return html`<div class="product">
${
  model.image_to_image &&
  html`<fieldset class="segments source js-only"><legend class="visually-hidden">The product</legend><div class="segment-row">${tab('words', 'Describe', !withPhoto)}${tab('photo', 'From a photo', withPhoto)}</div></fieldset>`
}
<div class="product-photo">${photo(fields, model, offer.uploadLimits)}</div>
${textField(fields, {
  name: 'prompt',
  label: 'What should be in the picture?',
  placeholder: 'a red apple',
  help: html`<span class="keys-help">Enter sends, Shift + Enter starts a new line.</span>`,
  maxLength: offer.limits.promptCharacters,
  rows: 2,
  required: true,
})}
${examples(model, state.values.model)}
</div>`
}

/**
 * First, since all other fields depend on it: when it changes, the form is renewed for the model (`forChosenModel`). The
 * button does that without JavaScript; a hidden one before it is what Enter presses. A list of one is not a choice.
 */
function modelChoice(fields: FieldContext, models: readonly ModelInfo[], model: ModelInfo): Html {
  const { name, width, height } = model
  const shown = html`<input type="hidden" name="shown_model" value="${name}">`
  const size = html`<span class="model-size">${width} × ${height}</span>`
  if (models.length < 2) {
    return html`${shown}<p class="model-line"><span class="model-name">${name}</span>${size}</p>`
  }
  const options = models.map(({ name, inpainting }) => ({
    value: name,
    label: inpainting ? `${name} (fills in)` : name,
  }))
  const attributes = html` hx-post="/form" hx-trigger="change" hx-target="#request" hx-swap="outerHTML" hx-sync="closest form:replace"`
  return html`${shown}<div class="model-choice">${choice(fields, { name: 'model', label: 'Model', options, attributes })}${size}<noscript><button type="submit" hidden></button><button class="btn tonal" type="submit" formaction="/form">Use this model</button></noscript></div>`
}

/** The pixels that the model draws: typed, or of the list. */
function drawnSize({ values }: FieldContext, model: ModelInfo): Size {
  const [width = 0, height = 0] = values.size.split('x').map(Number)
  return {
    width: Number(values.width) || width || model.width,
    height: Number(values.height) || height || model.height,
  }
}

function shutter(offer: PageOffer, fields: FieldContext, model: ModelInfo): Html {
  const { values } = fields
  const asked = {
    ...drawnSize(fields, model),
    steps: Number(values.steps),
    guidance_scale: Number(values.guidance_scale),
    count: Number(values.count),
  }
  const sampler = offer.samplers.of(model).find(({ name }) => name === values.sampler)
  const { action, time } = shutterWords(
    asked,
    sampler,
    offer.pace ?? { waiting: 0, secondsPerUnit: undefined },
  )
  return html`<button class="btn filled shutter" type="submit">${cameraIcon()}<span class="shutter-idle"><span class="shutter-action">${action}</span><span class="shutter-time">${time}</span></span><span class="shutter-busy">Sending…</span></button>`
}

/** For form.js, which follows what is changed: seconds for a unit of work. */
function paceOf({ pace }: PageOffer, { width, height }: ModelInfo): Html {
  const seconds = pace?.secondsPerUnit
  return html` data-width="${width}" data-height="${height}"${seconds !== undefined && html` data-pace="${seconds}"`}`
}

function formError(message: string | undefined): Html | false {
  return (
    message !== undefined &&
    html`<p class="form-error" role="alert">${warningIcon()}<span>${message}</span></p>`
  )
}

/** The model that the form asks for: the one that was chosen, or the default. */
export function chosenModel({ models }: Pick<Offer, 'models'>, values: FormValues): ModelInfo {
  const model = models.find(({ name }) => name === values.model) ?? models[0]
  if (model === undefined) throw new Error('an installation without a model has no form')
  return model
}

/** The values shown: those given, else the model's defaults. A size in the list is selected there. */
function fieldContext(offer: PageOffer, state: FormState, model: ModelInfo): FieldContext {
  const { values, errors, prefilled } = state
  const custom = { width: Number(values.width), height: Number(values.height) }
  const listed = offeredSizes(model, offer.limits).some((size) => sizeName(size) === sizeName(custom))
  const preset = finishPresets[values.finish_preset]
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
    format: values.format || preset?.format || imageFormats[0],
    finish_fill: values.finish_fill || String(preset?.fill ?? defaultFill),
    finish_shadow: values.finish_shadow || (preset?.shadow ?? 'none'),
  }
  const focus = fieldNames.find((name) => errors[name] !== undefined) ?? (prefilled ? 'prompt' : undefined)
  return { values: shown, errors, focus }
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
