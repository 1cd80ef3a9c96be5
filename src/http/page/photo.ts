import type { ModelInfo } from '../../jobs/offer.ts'
import type { UploadLimits } from '../../jobs/ports.ts'
import { errorOf, type FieldContext, percentField } from './fields.ts'
import { type Html, html } from './html.ts'
import { photoIcon } from './icons.ts'

/**
 * What the browser reads and photo.js converts if the server does not. Without HEIC: iOS then hands over a JPEG, and
 * other browsers cannot decode it.
 */
const readable = 'image/png,image/jpeg,image/webp,image/gif,image/avif'

/**
 * The picture to start from, and the part of it to repaint. photo.js uploads the file, puts the upload's id into the
 * form, draws both, and lets the visitor paint. Without JavaScript only a link that names an upload can bring a photo.
 */
export function photo(fields: FieldContext, model: ModelInfo, limits: UploadLimits): Html {
  const { values } = fields
  const ids = html`<input type="hidden" id="init_image" name="init_image" value="${values.init_image}"><input type="hidden" id="mask" name="mask" value="${values.mask}">`
  const errors = html`${errorOf(fields, 'init_image')}${errorOf(fields, 'mask')}`
  const wrong = fields.errors.init_image ?? fields.errors.mask
  if (!model.image_to_image && values.init_image === '') return html`${ids}`
  return html`<fieldset class="photo${wrong !== undefined && ' is-wrong'}" id="photo" data-bytes="${limits.bytes}" data-pixels="${limits.pixels}" data-kept="${limits.kept}">
<legend class="visually-hidden">A photo to start from</legend>
${ids}
<div class="photo-choose js-only">
<input class="visually-hidden" type="file" id="photo-file" accept="${readable}" aria-describedby="photo-help">
<label class="btn outlined" for="photo-file">${photoIcon()}<span>Start from a photo</span></label>
<span class="photo-help" id="photo-help">JPEG, PNG, WebP, GIF or AVIF; a large one is made smaller here. <span class="drop-help">Or drop it here.</span></span>
</div>
<p class="photo-status" role="status"></p>
${errors}
<div class="photo-stage" hidden>
<canvas class="photo-picture" role="img" aria-label="The photo to start from"></canvas>
<canvas class="photo-mask" aria-hidden="true"></canvas>
</div>
<div class="photo-tools js-only" hidden>
<button class="btn tonal" type="button" data-photo="paint" aria-pressed="false">Paint what to change</button>
<button class="btn text" type="button" data-photo="clear" hidden>Clear the paint</button>
<input class="visually-hidden" type="file" id="mask-file" accept="${readable}" aria-describedby="mask-help">
<label class="btn text" for="mask-file">Mask from a file</label>
<button class="btn text" type="button" data-photo="remove">Remove the photo</button>
<p class="photo-help" id="mask-help">Without paint the whole photo changes. In a mask file, white areas change.</p>
<div class="photo-brush field" hidden><label for="brush">Brush</label><input id="brush" type="range" min="8" max="160" value="48"></div>
</div>
<div class="photo-strength"${values.init_image === '' && html` hidden`}>${percentField(fields, { name: 'strength', label: 'How much may change', min: 0.05, max: 1, step: 0.05 })}</div>
</fieldset>`
}
