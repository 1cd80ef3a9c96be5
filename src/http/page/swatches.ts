import { type Background, backgrounds } from './backgrounds.ts'
import { errorOf, type FieldContext } from './fields.ts'
import { type Html, html } from './html.ts'

const asDescribed = { value: '', label: 'As described' }

/** A choice of backgrounds, each shown as a small studio set: radio buttons, so that it works without JavaScript. */
export function backgroundField(context: FieldContext): Html {
  const options = [asDescribed, ...backgrounds]
  const { value: chosen } = options.find(({ value }) => value === context.values.background) ?? asDescribed
  const error = errorOf(context, 'background')
  const swatch = ({ value, label }: Omit<Background, 'words'>) => {
    const focus = value === chosen && context.focus === 'background'
    return html`<label class="swatch"><span class="swatch-set is-${value || 'described'}" aria-hidden="true"></span><span class="swatch-name">${label}</span><input class="visually-hidden" type="radio" name="background" value="${value}"${value === chosen && html` checked`}${focus && html` autofocus`}></label>`
  }
  return html`<fieldset class="backgrounds${error && ' is-wrong'}"${error && html` aria-describedby="background-error"`}>
<legend>Background</legend>
<div class="swatches">${options.map(swatch)}</div>
${error}
<div class="background-note js-only" role="status" hidden><span></span> <button class="pick" type="button">Take them out</button></div>
</fieldset>`
}
