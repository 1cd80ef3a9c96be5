import { imageFormats } from '../../jobs/fields.ts'
import { finishLimits, finishPresets, shadows } from '../../jobs/finish.ts'
import type { JobView } from '../../jobs/serving/job-view.ts'
import { finishes } from './backgrounds.ts'
import { firstColour, maxBytes, number } from './form-finish.ts'
import { type FormValues, readFields } from './form-values.ts'
import { shadowNames } from './format-fields.ts'
import { type Html, html } from './html.ts'
import { frameIcon } from './icons.ts'

/** A picture that is there, finished in another way: a small form on its card, for POST /jobs/:id/finish. */

/** Leaves a choice to the format. */
const asFormat = { value: '', label: 'As the format says' }

/** Of a card's forms there are as many as pictures, so fields have no ids: each stands in its label. */
export function finishAgain({ id, request }: JobView, index: number): Html | false {
  if (request === undefined) return false
  const chosen = request.finish?.preset ?? Object.keys(finishPresets)[0] ?? ''
  const select = (
    name: string,
    label: string,
    options: readonly { value: string; label: string }[],
    value = '',
  ) =>
    html`<label class="field"><span>${label}</span><select name="${name}">${options.map((each) => html`<option value="${each.value}"${each.value === value && html` selected`}>${each.label}</option>`)}</select></label>`
  const formats = Object.entries(finishPresets).map(([value, { title, width, height }]) => ({
    value,
    label: `${title}, ${width} × ${height}`,
  }))
  return html`<details class="finish-again"><summary>${frameIcon()}<span>Finish again</span></summary>
<form method="post" action="/jobs/${id}/finish" data-send><input type="hidden" name="index" value="${index}">
${select('finish_preset', 'Format', [...formats, { value: '', label: 'No rule, 1600 × 1600' }], chosen)}
${select('background', 'Background', [asFormat, ...finishes, { value: asMade, label: 'As it was drawn' }])}
<label class="field own-colour"><span>Own colour</span><input type="color" name="finish_colour" value="${firstColour}"></label>
<label class="field"><span>Product fills, in %</span><input type="number" name="finish_fill" inputmode="numeric" min="${finishLimits.minFill}" max="${finishLimits.maxFill}" placeholder="${asFormat.label}"></label>
${select('finish_shadow', 'Shadow', [asFormat, ...shadows.map((value) => ({ value, label: shadowNames[value] }))])}
${select('format', 'File', [asFormat, ...imageFormats.map((value) => ({ value, label: value.toUpperCase() }))])}
<button class="btn tonal" type="submit">Finish it</button>
<p class="field-help">Nothing is drawn: the picture as it was drawn is finished anew, as another picture.</p></form></details>`
}

const asMade = 'as_made'

/** The body of `Services.refinish`, see `POST /v1/jobs/:id/finish`. It is checked there. */
export function refinishBody(input: unknown, index: number): Record<string, unknown> {
  const values = readFields(input)
  const background = groundOf(values)
  const given = {
    preset: values.finish_preset || undefined,
    background,
    fill: number(values.finish_fill),
    shadow: values.finish_shadow || undefined,
    max_bytes: maxBytes(values.finish_max_bytes),
  }
  const finish = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined))
  // a format's JPEG holds no transparency
  const format = values.format || (background === 'transparent' ? 'png' : undefined)
  return { index, finish, ...(format === undefined ? {} : { format }) }
}

function groundOf({ background, finish_colour }: FormValues): string | undefined {
  const laidOn = finishes.find(({ value }) => value === background)?.finish
  if (laidOn === 'own') return finish_colour || firstColour
  return laidOn ?? (background || undefined)
}
