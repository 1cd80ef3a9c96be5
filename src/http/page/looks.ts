import type { Look } from '../../jobs/serving/workspace.ts'
import { type FormValues, fieldNames } from './form-values.ts'
import { type Html, html } from './html.ts'

/** Saved looks: a form's settings under a name. Words of the product stay with the person who types them, unless saved too. */

/** Bytes of a look in the store; a form's fields are shorter, unless somebody makes up others. */
const longestLook = 8192
const longestLookName = 40

/** What belongs to one picture and not to a look. */
const ownOfPicture: readonly string[] = [
  'seed',
  'init_image',
  'mask',
  'strength',
  'shown_model',
  'source',
  'keep',
]

/** The look of a posted form; undefined if it has no name, or is too long. */
export function lookOf(name: unknown, values: FormValues): Look | undefined {
  if (typeof name !== 'string') return undefined
  const short = [...name.trim().replaceAll(/\s+/g, ' ')].slice(0, longestLookName).join('')
  const kept = fieldNames.flatMap((field) =>
    ownOfPicture.includes(field) || values[field] === '' ? [] : [[field, values[field]] as const],
  )
  const look = { name: short, values: Object.fromEntries(kept) }
  return short === '' || JSON.stringify(look).length > longestLook ? undefined : look
}

/** Links, so that they work without JavaScript; the chosen one is pressed. */
export function lookChips(looks: readonly Look[], chosen: string | undefined): Html | false {
  if (looks.length === 0) return false
  return html`<nav class="looks" aria-label="Saved looks"><ul>${looks.map(
    ({ name }) =>
      html`<li><a class="pick" href="/?${new URLSearchParams({ look: name }).toString()}"${name === chosen && html` aria-current="true"`}>${name}</a></li>`,
  )}</ul></nav>`
}

/** Saves what the form around it has; in the form, so that it is sent with all fields. */
export function saveLook(looks: readonly Look[], chosen: string | undefined): Html {
  return html`<details class="save-look"><summary>Save as a look</summary><div class="save-look-body">
<label class="field-label" for="look_name">Name</label>
<input id="look_name" name="look_name" type="text" maxlength="${longestLookName}" value="${chosen ?? ''}" autocomplete="off">
<button class="btn tonal" type="submit" formaction="/looks" formnovalidate hx-post="/looks" hx-target="#request" hx-swap="outerHTML" hx-sync="closest form:replace">Save</button>${looks.length > 0 && html`<button class="btn text" type="submit" formaction="/looks/remove" formnovalidate hx-post="/looks/remove" hx-target="#request" hx-swap="outerHTML" hx-sync="closest form:replace">Remove</button>`}
<p class="field-help">Words, what to avoid and all settings, without photo and seed. It stands at the top of the form.</p></div></details>`
}
