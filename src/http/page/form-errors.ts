import type { AppError } from '../../jobs/errors.ts'
import { saysNothing } from '../../jobs/request/loras.ts'
import type { FormState } from './form.ts'
import { type FieldName, type FormValues, fieldNames } from './form-values.ts'

/** The API's name of a field and the page's. A message begins with the former. */
const labels: Readonly<Record<FieldName, string>> = {
  prompt: 'The description',
  background: 'The background',
  negative_prompt: 'What to keep out',
  size: 'The size',
  count: 'The number of pictures',
  width: 'The width',
  height: 'The height',
  steps: 'The number of steps',
  guidance_scale: 'Guidance',
  seed: 'The seed',
  sampler: 'The sampler',
  schedule: 'The schedule',
  model: 'The model',
  loras: 'LoRAs',
  vae: 'The VAE',
  clip_skip: 'Clip skip',
  init_image: 'The photo',
  mask: 'The mask',
  strength: 'How much may change',
}

/** The prompt was sent with the words of the background, so its length includes both. */
const promptAndBackground = 'The description with its background'

/** Puts each fault of a refused request beside its field, or above the form if it belongs to none. */
export function formErrors(error: AppError, values: FormValues): FormState['errors'] {
  const errors: Partial<Record<FieldName | 'form', string>> = {}
  const faults =
    error.faults.length > 0 ? error.faults : [{ param: error.param ?? '', message: error.message }]
  for (const { param, message } of faults) {
    const name = placeOf(param, values)
    errors[name] ??=
      name === 'prompt' && saysNothing(values.prompt) ? sayWhat : inOurWords(message, param, values)
  }
  return errors
}

const sayWhat = 'Say what should be in the picture, for example: a red apple.'

/** Width and height that were not typed came from the list of sizes. */
function placeOf(param: string, values: FormValues): FieldName | 'form' {
  if ((param === 'width' || param === 'height') && values[param].trim() === '') return 'size'
  return fieldNames.find((name) => name === param) ?? 'form'
}

function inOurWords(message: string, param: string, { background }: FormValues): string {
  const both = param === 'prompt' && background !== ''
  const label = both ? promptAndBackground : (labels[param as FieldName] as string | undefined)
  return label !== undefined && message.startsWith(`${param} `)
    ? label + message.slice(param.length)
    : message
}
