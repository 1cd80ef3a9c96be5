import type { ModelInfo } from '../../jobs/offer.ts'
import { pacesOf } from '../../jobs/paces.ts'
import type { PageOffer } from './form.ts'
import type { FieldName, FormValues } from './form-values.ts'

/** Paces in the form: see docs/few-steps.md. */

/** What a pace sets, where the form's fields show something. */
const paced = ['steps', 'guidance_scale', 'sampler', 'schedule'] as const satisfies readonly FieldName[]

/** Those that a model has; `quality` is one. */
export function pacesFor({ loras }: Pick<PageOffer, 'loras'>, model: ModelInfo) {
  return pacesOf(model, loras).filter(({ available }) => available)
}

/**
 * A form always sends steps, guidance and sampler, and a request's own fields count more than its pace: what nobody changed is
 * left out, be it the model's default or what the pace sets itself.
 */
export function leftToPace(offer: PageOffer, values: FormValues, model: ModelInfo): FormValues {
  const pace = pacesFor(offer, model).find(({ name }) => name === values.pace)
  if (pace === undefined || pace.name === 'quality') return values
  const [first] = offer.samplers.of(model)
  const usual = {
    steps: model.steps,
    guidance_scale: model.guidance_scale,
    sampler: first?.name,
    schedule: first?.default_schedule,
  }
  // a request that is sent again names what it was made with
  const isForm = values.shown_model !== ''
  const left = paced.filter((name) => {
    const own = values[name] === String(pace[name])
    return own || (isForm && values[name] === String(usual[name]))
  })
  return { ...values, ...Object.fromEntries(left.map((name) => [name, ''])) }
}
