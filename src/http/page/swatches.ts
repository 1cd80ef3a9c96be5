import { type Background, finishes, scenes } from './backgrounds.ts'
import { errorOf, type FieldContext } from './fields.ts'
import { firstColour } from './form-finish.ts'
import { type Html, html } from './html.ts'

const asDescribed = { value: '', label: 'As described' }

type Swatch = Pick<Background, 'value' | 'label'>

/**
 * What the product is set on, each choice shown as a small studio set: radio buttons, so that it works without
 * JavaScript. The first row is laid on exactly, the second is drawn by the model.
 */
export function setField(context: FieldContext): Html {
  const options: readonly Swatch[] = [asDescribed, ...finishes, ...scenes]
  const { value: chosen } = options.find(({ value }) => value === context.values.background) ?? asDescribed
  const error = errorOf(context, 'background')
  const swatch = ({ value, label }: Swatch) => {
    const focus = value === chosen && context.focus === 'background'
    return html`<label class="swatch"><span class="swatch-set is-${value || 'described'}" aria-hidden="true"></span><span class="swatch-name">${label}</span><input class="visually-hidden" type="radio" name="background" value="${value}"${value === chosen && html` checked`}${focus && html` autofocus`}></label>`
  }
  return html`<fieldset class="backgrounds${error && ' is-wrong'}"${error && html` aria-describedby="background-error"`}>
<legend>Background</legend>
<p class="swatch-group">Exact <span>cut out, right to the last pixel</span></p>
<div class="swatches">${finishes.map(swatch)}${ownColour(context)}</div>
<p class="swatch-group">Scene <span>drawn by the model</span></p>
<div class="swatches">${[asDescribed, ...scenes].map(swatch)}</div>
${error}
<div class="background-note js-only" role="status" hidden><span></span> <button class="pick" type="button">Take them out</button></div>
</fieldset>`
}

/** Shown with the swatch of one's own colour. */
function ownColour(context: FieldContext): Html {
  const colour = /^#[0-9a-f]{6}$/i.test(context.values.finish_colour)
    ? context.values.finish_colour
    : firstColour
  return html`<label class="own-colour"><span>Colour</span><input type="color" name="finish_colour" value="${colour}"></label>`
}
