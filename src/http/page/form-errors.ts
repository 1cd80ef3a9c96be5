import { type AppError, clientMessage } from '../../jobs/errors.ts'
import { type Field, type RequestFieldName, requestFields } from '../../jobs/fields.ts'
import { saysNothing } from '../../jobs/request/loras.ts'
import type { FormState } from './form.ts'
import { type FieldName, type FormValues, fieldNames } from './form-values.ts'

/** What the page calls a field, at the beginning of a sentence. */
function subjectOf(name: FieldName): string {
  const own: Readonly<Partial<Record<FieldName, string>>> = {
    background: 'The background',
    size: 'The size',
    shown_model: requestFields.model.form.subject,
    finish_preset: 'The format',
    finish_background: 'The background',
    finish_colour: 'The colour',
    finish_fill: 'How much the product fills',
    finish_width: 'The delivered width',
    finish_height: 'The delivered height',
    finish_shadow: 'The shadow',
    finish_zoom: 'How much the product fills',
    finish_margin: 'The margin',
    finish_max_bytes: 'The size of the file',
    gate_tries: 'The number of tries',
    hires_scale: 'The larger size',
    hires_strength: 'How much is drawn again',
    hires_steps: 'The number of steps',
    hires_upscaler: 'The upscaler',
  }
  const field: Field | undefined = name in requestFields ? requestFields[name as RequestFieldName] : undefined
  return own[name] ?? field?.form?.subject ?? 'This'
}

/** The prompt was sent with the words of the background, so its length includes both. */
const promptAndBackground = 'The description with its background'

/** Puts each fault of a refused request beside its field, or above the form if it belongs to none. */
export function formErrors(error: AppError, values: FormValues): FormState['errors'] {
  const errors: Partial<Record<FieldName | 'form', string>> = {}
  const faults =
    error.faults.length > 0 ? error.faults : [{ param: error.param ?? '', message: clientMessage(error) }]
  for (const { param, message } of faults) {
    const name = placeOf(param, values)
    errors[name] ??=
      name === 'prompt' && saysNothing(values.prompt) ? sayWhat : inOurWords(message, param, values)
  }
  return errors
}

const sayWhat = 'Say what should be in the picture, for example: a red apple.'

/** Parameters that have no field of their name. */
const places: Readonly<Record<string, FieldName>> = {
  finish: 'finish_preset',
  hires: 'hires_scale',
  'hires.width': 'hires_scale',
  'hires.height': 'hires_scale',
}

/** The field of the form that a parameter of the API came from. */
function fieldOf(param: string): FieldName | undefined {
  if (param === 'finish.background') return 'background'
  const name = places[param] ?? param.replace('.', '_')
  return fieldNames.find((each) => each === name)
}

/** Width and height that were not typed came from the list of sizes. */
function placeOf(param: string, values: FormValues): FieldName | 'form' {
  if ((param === 'width' || param === 'height') && values[param].trim() === '') return 'size'
  if (param === 'finish.fill' && values.finish_zoom.trim() !== '') return 'finish_zoom'
  return fieldOf(param) ?? 'form'
}

function inOurWords(message: string, param: string, values: FormValues): string {
  const { background, light, view, many } = values
  const both = param === 'prompt' && [background, light, view, many].some((each) => each !== '')
  const name = fieldOf(param)
  if (name === undefined || !message.startsWith(`${param} `)) return message
  return (both ? promptAndBackground : subjectOf(name)) + message.slice(param.length)
}
