import type { TSchema } from 'typebox'
import { type FormField, type FormFieldName, type RequestLimits, requestFields } from '../../jobs/fields.ts'
import { type ModelInfo, namesFor, type SamplerInfo } from '../../jobs/offer.ts'
import { choice, type FieldContext, lineField, numberField, textField } from './fields.ts'
import type { FormState, PageOffer } from './form.ts'
import { largerFieldNames } from './form-larger.ts'
import { advancedFields, type FieldName, type FormValues } from './form-values.ts'
import { type Html, html } from './html.ts'
import { settingsIcon } from './icons.ts'
import { largerFields } from './larger-fields.ts'

/** What most pictures do without. It is open if a value in it is not the default. */
export function fineTuning(offer: PageOffer, fields: FieldContext, state: FormState, model: ModelInfo): Html {
  const { limits } = offer
  const [sampler] = offer.samplers.of(model)
  const open =
    advancedFields.some((name) => differs(state, fields, { model, sampler, limits }, name)) ||
    ownFields.some((name) => state.values[name] !== '' || state.errors[name] !== undefined)
  const number = (name: FormFieldName, change: Partial<NumberRange> = {}) =>
    numberField(fields, { ...textOf(name), ...rangeOf(name, limits), ...change })
  const size = { step: model.size_multiple }
  return html`<details class="more"${open && html` open`}>
<summary>${settingsIcon()}<span>Fine tuning</span></summary>
<div class="more-body">
${textField(fields, {
  ...textOf('negative_prompt'),
  label: 'What to avoid',
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
${timesteps(fields, offer.samplers.of(model))}
<div class="field-row">
${vaes(fields, model, namesFor(model, offer.vaes))}
${number('clip_skip', { max: Math.min(limits.maxClipSkip, model.clip_layers) })}
</div>
${others(fields, limits)}
${largerFields(offer, fields, model)}
</div>
</details>`
}

/** Fields of it that are not in the table. */
const ownFields: readonly FieldName[] = [
  'gate_tries',
  'finish_max_bytes',
  'finish_zoom',
  'finish_margin',
  ...largerFieldNames,
]

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

/** The fields that have a place of their own, here or above. */
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
  'format',
  'upscaler',
  'decoder',
  'timesteps',
]

/** All others, in the table's order. */
function others(fields: FieldContext, limits: RequestLimits): Html {
  const controls = advancedFields
    .filter((name) => !placed.includes(name))
    .map((name) => {
      if (requestFields[name].form.as === 'number')
        return numberField(fields, { ...textOf(name), ...rangeOf(name, limits) })
      const options = valuesOf(name, limits).map((value) => ({
        value,
        label: labels[value] ?? value.toUpperCase(),
      }))
      return choice(fields, { ...textOf(name), options })
    })
  return html`<div class="field-row">${controls}</div>`
}

/** The schedules of all samplers; form.js shows those of the chosen one, and counts its calls in the estimate. */
function samplers(fields: FieldContext, offered: readonly SamplerInfo[]): Html | false {
  const schedules = [...new Set(offered.flatMap((sampler) => sampler.schedules))]
  const options = offered.map(({ name, label, schedules, calls_per_step }) => ({
    value: name,
    label,
    schedules,
    ...(calls_per_step === undefined ? {} : { calls: calls_per_step }),
  }))
  const spacings = [{ value: '', label: 'automatic' }, ...schedules.map((value) => ({ value, label: value }))]
  const sampler = offered.length > 1 && choice(fields, { ...textOf('sampler'), options })
  const schedule = schedules.length > 1 && choice(fields, { ...textOf('schedule'), options: spacings })
  return (sampler || schedule) && html`<div class="field-row">${sampler}${schedule}</div>`
}

function timesteps(fields: FieldContext, offered: readonly SamplerInfo[]): Html | false {
  const isShown = offered.some(({ takes_timesteps }) => takes_timesteps) || fields.values.timesteps !== ''
  return isShown && lineField(fields, { ...textOf('timesteps'), maxLength: 400 })
}

function vaes(fields: FieldContext, model: ModelInfo, names: readonly string[]): Html | false {
  const own = model.needs_vae === true ? [] : [{ value: '', label: 'its own' }]
  const options = [...own, ...names.map((value) => ({ value, label: value }))]
  return names.length > 0 && choice(fields, { ...textOf('vae'), options })
}

function loras(offer: PageOffer, fields: FieldContext, model: ModelInfo): Html | false {
  const names = namesFor(model, offer.loras)
  if (names.length === 0) return false
  return html`<div class="loras">
<div class="field js-only"><label for="lora-add">LoRAs</label><ul class="lora-rows" id="lora-rows"></ul><select id="lora-add" aria-describedby="lora-help"><option value="">Add a LoRA</option>${names.map((name) => html`<option value="${name}">${name}</option>`)}</select><div class="field-notes"><span class="field-help" id="lora-help">1 is what it was made for, less is less of it, below 0 its opposite.</span></div></div>
${lineField(fields, {
  ...textOf('loras'),
  help: html`Name and strength, with commas between: ${names[0]}:0.8`,
  maxLength: offer.limits.promptCharacters,
})}</div>`
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

const labels: Readonly<Record<string, string>> = { exact: 'Exact', int8: 'Eight bits, faster' }

/** Of a choice, the default first; none of other fields. */
function valuesOf(name: FormFieldName, limits: RequestLimits): readonly string[] {
  if (requestFields[name].form?.as === 'number') return []
  return (schemaOf(name, limits) as { readonly enum?: readonly string[] }).enum ?? []
}

/** What decides what the default of a field is. */
interface Defaults {
  readonly model: ModelInfo
  readonly sampler: SamplerInfo | undefined
  readonly limits: RequestLimits
}

/** Whether a field has a value or an error that must not stay hidden. */
function differs(
  state: FormState,
  fields: FieldContext,
  { model, sampler, limits }: Defaults,
  name: FormFieldName,
): boolean {
  const value = state.values[name]
  if (name === 'format' || name === 'model') return false
  if (state.errors[name] !== undefined) return true
  if (name === 'width' || name === 'height') return fields.values[name] !== ''
  if (value === '') return false
  if (name === 'steps' || name === 'guidance_scale') return value !== String(model[name])
  if (name === 'sampler' || name === 'schedule') return !isDefault(state.values, sampler)
  return value !== valuesOf(name, limits)[0]
}

/** Whether sampler and schedule are the defaults: a recipe names them even then. */
function isDefault({ sampler, schedule }: FormValues, first: SamplerInfo | undefined): boolean {
  return (
    (sampler || first?.name) === first?.name &&
    (schedule || first?.default_schedule) === first?.default_schedule
  )
}
