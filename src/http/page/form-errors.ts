import { type AppError, clientMessage } from '../../jobs/errors.ts'
import { requestFields } from '../../jobs/fields.ts'
import { saysNothing } from '../../jobs/request/loras.ts'
import type { FormState } from './form.ts'
import { type FieldName, type FormValues, fieldNames } from './form-values.ts'

/** What the page calls a field, at the beginning of a sentence. */
function subjectOf(name: FieldName): string {
  if (name === 'background') return 'The background'
  if (name === 'shown_model') return requestFields.model.form.subject
  return name === 'size' ? 'The size' : requestFields[name].form.subject
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

/** Width and height that were not typed came from the list of sizes. */
function placeOf(param: string, values: FormValues): FieldName | 'form' {
  if ((param === 'width' || param === 'height') && values[param].trim() === '') return 'size'
  return fieldNames.find((name) => name === param) ?? 'form'
}

function inOurWords(message: string, param: string, { background }: FormValues): string {
  const both = param === 'prompt' && background !== ''
  const name = fieldNames.find((each) => each === param)
  if (name === undefined || !message.startsWith(`${param} `)) return message
  return (both ? promptAndBackground : subjectOf(name)) + message.slice(param.length)
}
