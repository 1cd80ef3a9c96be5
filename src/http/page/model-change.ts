import { defaultStrength } from '../../jobs/fields.ts'
import { findNamed, type ModelInfo, namesFor } from '../../jobs/offer.ts'
import type { PageOffer } from './form.ts'
import type { FormValues } from './form-values.ts'
import { pacesFor } from './pace.ts'
import { offeredSizes, sizeName } from './sizes.ts'

/**
 * A form shows the defaults of the model named in `shown_model`. When another model is chosen in it, what still has the
 * old default takes the new model's, and what was changed stays if the new model allows it. Without this a
 * form would send one model's size and steps to another, whether htmx, a button or nobody renewed it.
 */
export function forChosenModel(offer: PageOffer, values: FormValues): FormValues {
  const before = findNamed(offer.models, values.shown_model)
  const after = findNamed(offer.models, values.model || (offer.models[0]?.name ?? ''))
  if (before === undefined || after === undefined || before === after) return values
  const shown = defaultsOf(offer, before)
  const kept = Object.entries(values).map(([name, value]) => [name, value === shown[name] ? '' : value])
  return allowed(offer, after, { ...values, ...Object.fromEntries(kept), shown_model: after.name })
}

function defaultsOf(offer: PageOffer, model: ModelInfo): Readonly<Record<string, string | undefined>> {
  return {
    size: sizeName(model),
    steps: String(model.steps),
    guidance_scale: String(model.guidance_scale),
    strength: String(defaultStrength),
    sampler: offer.samplers.of(model)[0]?.name,
  }
}

/** Without what the model would refuse. */
function allowed(offer: PageOffer, model: ModelInfo, values: FormValues): FormValues {
  const keep = (value: string, fits: boolean) => (fits ? value : '')
  const fits = (names: readonly string[], name: string) => names.includes(name)
  const sizes = offeredSizes(model, offer.limits).map(sizeName)
  const isMultiple = (pixels: string) => Number(pixels) % model.size_multiple === 0
  const sampler = offer.samplers.of(model).find(({ name }) => name === values.sampler)
  const loras = namesFor(model, offer.loras)
  const entries = values.loras.split(',').map((entry) => entry.trim())
  return {
    ...values,
    size: keep(values.size, sizes.includes(values.size)),
    width: keep(values.width, isMultiple(values.width)),
    height: keep(values.height, isMultiple(values.height)),
    sampler: sampler?.name ?? '',
    schedule: keep(values.schedule, sampler?.schedules.includes(values.schedule) === true),
    vae: keep(values.vae, fits(namesFor(model, offer.vaes), values.vae)),
    loras: entries.filter((entry) => fits(loras, entry.replace(/(\s*:[^:]*){1,2}$/, ''))).join(', '),
    clip_skip: keep(values.clip_skip, !(Number(values.clip_skip) > model.clip_layers)),
    pace: keep(
      values.pace,
      pacesFor(offer, model).some(({ name }) => name === values.pace),
    ),
    decoder: keep(values.decoder, fits(['tiny', ...namesFor(model, offer.tiny_vaes ?? [])], values.decoder)),
    ...(model.image_to_image ? {} : { init_image: '', mask: '', hires_scale: '' }),
  }
}
