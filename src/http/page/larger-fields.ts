import { requestFields } from '../../jobs/fields.ts'
import { finishLimits } from '../../jobs/finish.ts'
import { defaultHires } from '../../jobs/larger.ts'
import { type ModelInfo, namesFor } from '../../jobs/offer.ts'
import { choice, type FieldContext, lineField, numberField, segments } from './fields.ts'
import type { PageOffer } from './form.ts'
import { type Html, html } from './html.ts'
import { pacesFor } from './pace.ts'

/** Fields of fine tuning for larger pictures, their file, and how soon they are there. What a model or server lacks has no field. */

const named = (value: string) => ({ value, label: value })

/** Radio buttons, with what form.js sets when a pace is chosen; the server does the same for what is not sent. */
export function paceField(offer: PageOffer, fields: FieldContext, model: ModelInfo): Html | false {
  const paces = pacesFor(offer, model)
  if (paces.length < 2) return false
  const { label, help } = requestFields.pace.form
  const own = {
    steps: model.steps,
    guidance_scale: model.guidance_scale,
    sampler: offer.samplers.of(model)[0]?.name,
    schedule: '',
  }
  const options = paces.map(({ name, steps, guidance_scale, sampler, schedule }) => ({
    value: name === 'quality' ? '' : name,
    label: paceNames[name],
    data: name === 'quality' ? own : { steps, guidance_scale, sampler, schedule },
  }))
  return segments(fields, { name: 'pace', label, help: html`${help}`, options })
}

const paceNames = { quality: 'Quality', quick: 'Quick', instant: 'Instant' } as const

export function largerFields(offer: PageOffer, fields: FieldContext, model: ModelInfo): Html {
  const upscalers = (offer.upscalers ?? []).filter(({ problem }) => problem === undefined)
  const decoders = namesFor(model, offer.tiny_vaes ?? [])
  const { upscaler, decoder } = requestFields
  const enlargers = [{ value: '', label: 'Lanczos' }, ...upscalers.map(({ name }) => named(name))]
  return html`${
    model.image_to_image &&
    html`<div class="field-row">
${lineField(fields, {
  name: 'hires_scale',
  label: 'Draw again, larger',
  help: html`2: enlarged to twice the size and drawn over at that size. Finer, and slower. Or a size: 512x512.`,
  maxLength: 11,
  placeholder: 'no',
})}
${numberField(fields, { name: 'hires_strength', label: 'How much of it', help: html`0.5: half of its steps. More changes more.`, min: 0.05, max: 1, step: 'any', placeholder: String(defaultHires.strength) })}
</div>
<div class="field-row hires-more">
${numberField(fields, { name: 'hires_steps', label: 'Steps, drawn again', min: 1, max: 100, step: 1, placeholder: 'as above' })}
${upscalers.length > 0 && choice(fields, { name: 'hires_upscaler', label: 'Enlarged by', options: enlargers })}
</div>`
  }
${
  (upscalers.length > 0 || decoders.length > 0) &&
  html`<div class="field-row">
${upscalers.length > 0 && choice(fields, { name: 'upscaler', label: upscaler.form.label, help: html`${upscaler.form.help}`, options: enlargers })}
${decoders.length > 0 && choice(fields, { name: 'decoder', label: decoder.form.label, help: html`${decoder.form.help}`, options: [{ value: '', label: 'the whole VAE' }, ...decoders.map(named)] })}
</div>`
}
<div class="field-row">
${choice(fields, {
  name: 'gate_tries',
  label: 'Tries',
  help: html`Draws again what misses: no product, cut off, blurred. The best is delivered.`,
  options: [
    { value: '', label: 'one' },
    ...Array.from({ length: finishLimits.maxTries - 1 }, (_, index) => ({
      value: String(index + 2),
      label: `up to ${index + 2}`,
    })),
  ],
})}
${lineField(fields, {
  name: 'finish_max_bytes',
  label: 'Largest file',
  help: html`JPEG and WebP: the quality falls until it fits.`,
  maxLength: 12,
  placeholder: 'such as 500 KB',
})}
</div>
<div class="field-row">
${numberField(fields, { name: 'finish_zoom', label: 'Zoom to the product', help: html`With its own background: per cent of the frame that the product then fills.`, min: finishLimits.minFill, max: finishLimits.maxFill, step: 'any', placeholder: 'as drawn' })}
${lineField(fields, {
  name: 'finish_margin',
  label: 'Margins',
  help: html`Per cent of the frame that stay free: one number, or four for top, right, bottom and left.`,
  maxLength: 80,
  placeholder: 'none',
})}
</div>`
}
