import { imageFormats } from '../../jobs/fields.ts'
import { type FinishPreset, finishLimits, finishPresets, shadows } from '../../jobs/finish.ts'
import { choice, errorOf, type FieldContext, numberField, percentField, segments } from './fields.ts'
import { type Html, html } from './html.ts'
import type { Size } from './sizes.ts'

interface Option {
  readonly value: string
  readonly label: string
}

/** A format of one's own: width and height are typed. */
export const ownFormat = 'own'

/**
 * What is delivered: the format (pixels, and by a rule of a shop also how much the product fills, its background and the file),
 * and the finish. The finish is shown where something is finished: see controls.css.
 */
export function formatFields(fields: FieldContext, sizes: readonly Option[], drawn: Size): Html {
  const { values } = fields
  const chosen = finishPresets[values.finish_preset] === undefined ? undefined : values.finish_preset
  const current = chosen ?? (values.finish_preset === ownFormat ? ownFormat : '')
  const tile = (value: string, label: string, facts: Html | false, preset?: FinishPreset) => {
    const shape = preset ?? (value === '' ? drawn : { width: 4, height: 3 })
    const focus = value === current && fields.focus === 'finish_preset'
    return html`<label class="format"${preset?.source !== undefined && html` title="${preset.source}"`}><span class="format-shape" aria-hidden="true">${outline(shape, value)}</span><span class="format-name">${label}</span>${facts}<input class="visually-hidden" type="radio" name="finish_preset" value="${value}"${preset !== undefined && dataOf(preset)}${value === current && html` checked`}${focus && html` autofocus`}></label>`
  }
  const error = errorOf(fields, 'finish_preset')
  return html`<fieldset class="formats${error && ' is-wrong'}"${error && html` aria-describedby="finish_preset-error"`}>
<legend>Format</legend>
<div class="format-tiles">
${tile('', 'As drawn', html`<span class="format-pixels">${drawn.width} × ${drawn.height}</span>`)}
${Object.entries(finishPresets).map(([name, preset]) => tile(name, preset.title, html`<span class="format-pixels">${preset.width} × ${preset.height}</span>`, preset))}
${tile(ownFormat, 'Own size', false)}
</div>
${error}
<div class="field-row own-size">${side(fields, 'finish_width', 'Width')}${side(fields, 'finish_height', 'Height')}</div>
<p class="field-help format-note" id="format-note" data-drawn="${drawn.width} × ${drawn.height}"></p>
</fieldset>
${choice(fields, { name: 'size', label: 'Drawn as', options: sizes })}
<div class="finish">
${percentField(fields, { name: 'finish_fill', label: 'The product fills', min: finishLimits.minFill, max: finishLimits.maxFill, step: 1, of: 100 })}
${segments(fields, { name: 'finish_shadow', label: 'Shadow', options: shadows.map((value) => ({ value, label: shadowNames[value] })) })}
</div>
${segments(fields, { name: 'format', label: 'File', options: imageFormats.map((value) => ({ value, label: value.toUpperCase() })) })}`
}

export const shadowNames = { none: 'None', contact: 'Contact', soft: 'Soft' } as const

function side(fields: FieldContext, name: 'finish_width' | 'finish_height', label: string): Html {
  const { minSide: min, maxSide: max } = finishLimits
  return numberField(fields, { name, label, min, max, step: 1, placeholder: '1600' })
}

/** What choices.js sets when the format is chosen; the server does the same for what is not sent. */
function dataOf({ width, height, background, fill, shadow, format }: FinishPreset): Html {
  return html` data-width="${width}" data-height="${height}" data-background="${background}" data-shadow="${shadow}" data-format="${format}"${fill !== undefined && html` data-fill-of="${fill}"`}`
}

/** A frame of this shape, 32 units on its longer side. */
function outline({ width, height }: Size, value: string): Html {
  const scale = 28 / Math.max(width, height)
  const [across, down] = [Math.round(width * scale), Math.round(height * scale)]
  return html`<svg viewBox="0 0 32 32" width="32" height="32" focusable="false"><rect x="${(32 - across) / 2}" y="${(32 - down) / 2}" width="${across}" height="${down}" rx="2.5"${value === ownFormat && html` stroke-dasharray="3 3"`}/></svg>`
}
