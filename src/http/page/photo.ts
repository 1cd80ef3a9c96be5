import { defaultLimits } from '../../jobs/fields.ts'
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
 * The panel's part of a photo to start from: choosing it, and what becomes of it. photo.js uploads the file and puts the
 * upload's id into the form. Without JavaScript the photo is posted with the form to /photo (`photoRoutes`), which
 * answers with the form and the id in it.
 */
export function photo(fields: FieldContext, model: ModelInfo, limits: UploadLimits): Html {
  const { values } = fields
  const ids = html`<input type="hidden" id="init_image" name="init_image" value="${values.init_image}"><input type="hidden" id="mask" name="mask" value="${values.mask}">`
  const errors = html`${errorOf(fields, 'init_image')}${errorOf(fields, 'mask')}${errorOf(fields, 'keep')}`
  const wrong = fields.errors.init_image ?? fields.errors.mask ?? fields.errors.keep
  if (!model.image_to_image && values.init_image === '') return html`${ids}`
  const none = values.init_image === ''
  return html`<fieldset class="photo${wrong !== undefined && ' is-wrong'}" id="photo" data-bytes="${limits.bytes}" data-pixels="${limits.pixels}" data-kept="${limits.kept}" data-model="${model.name}" data-side="${defaultLimits.maxSize}">
<legend class="visually-hidden">A photo to start from</legend>
${ids}
<div class="photo-choose js-only">
<input class="visually-hidden" type="file" id="photo-file" accept="${readable}" aria-describedby="photo-help">
<label class="btn outlined" for="photo-file">${photoIcon()}<span>${none ? 'Start from a photo' : 'Another photo'}</span></label>
<button class="btn tonal" type="button" data-photo="show" hidden>Show the photo</button>
<button class="btn text" type="button" data-photo="remove"${none && html` hidden`}>Remove the photo</button>
<span class="photo-help" id="photo-help">JPEG, PNG, WebP, GIF or AVIF; a large one is made smaller here. <span class="drop-help">Or drop or paste it anywhere.</span></span>
</div>
<noscript>${withoutScript(values.init_image, limits)}</noscript>
<p class="photo-status" role="status"></p>
${errors}
<div class="photo-options"${none && html` hidden`}>
<label class="photo-keep"><input type="checkbox" id="keep" name="keep" value="product"${values.keep !== '' && html` checked`} aria-describedby="keep-help"><span>Keep the product</span></label>
<p class="photo-help" id="keep-help">It is found by itself and stays as it is, pixel by pixel. Everything around it is drawn anew from your words.</p>
<div class="photo-strength">${percentField(fields, { name: 'strength', label: 'How much may change', min: 0.05, max: 1, step: 0.05 })}</div>
</div>
</fieldset>`
}

function withoutScript(upload: string, { bytes }: UploadLimits): Html {
  const shown = html`<img class="photo-shown" src="/v1/uploads/${upload}" alt="The photo to start from">`
  const megabytes = Math.floor(bytes / 1e6)
  return html`${upload !== '' && shown}<div class="photo-post field"><label for="photo-posted">${upload === '' ? 'Start from a photo' : 'Another photo'}</label><input type="file" id="photo-posted" name="photo_file" accept="image/png,image/jpeg,image/webp" aria-describedby="photo-posted-help"><p class="photo-help" id="photo-posted-help">JPEG, PNG or WebP of at most ${megabytes} MB.</p><button class="btn tonal" type="submit" formaction="/photo" formenctype="multipart/form-data">Use this photo</button></div>`
}

/**
 * The stage's part: the photo as large as the window allows, what of it is drawn anew, and the tools to change that. Hidden
 * until there is a photo; all of it needs JavaScript (photo-stage.js). It may be anywhere outside of the form, once.
 */
export function photoStage(): Html {
  return html`<section class="photo-stage js-only" id="photo-stage" aria-labelledby="photo-stage-title" hidden>
<h2 class="visually-hidden" id="photo-stage-title">Your photo</h2>
<div class="photo-tools" role="group" aria-label="What is drawn anew">
<span class="photo-pair">${tool('brush', 'Brush', 'Paint what is drawn anew (B)', true)}${tool('eraser', 'Eraser', 'Take paint away: that part is kept (E)', true)}</span>
<label class="photo-size" for="brush"><span>Size</span><input id="brush" type="range" min="2" max="200" value="40" aria-keyshortcuts="[ ]"><output for="brush">40</output></label>
<span class="photo-pair">${tool('undo', 'Undo', 'Undo (Ctrl + Z)')}${tool('redo', 'Redo', 'Redo (Ctrl + Shift + Z)')}</span>
<span class="photo-pair">${tool('invert', 'Invert', 'Draw anew what was kept, and keep the rest')}${tool('clear', 'Clear', 'Take all paint away')}</span>
<span class="photo-pair">${tool('out', '−', 'Smaller (−)')}${tool('fit', 'Fit', 'As large as the window allows (0)')}${tool('in', '+', 'Larger (+)')}</span>
<span class="photo-pair"><input class="visually-hidden" type="file" id="mask-file" accept="${readable}" aria-describedby="mask-help"><label class="btn text" for="mask-file">Mask from a file</label></span>
</div>
<p class="photo-note" role="status"></p>
<div class="photo-view">
<div class="photo-sheet">
<canvas class="photo-picture" role="img" aria-label="The photo to start from"></canvas>
<canvas class="photo-mask" tabindex="0" role="application" aria-label="What of the photo is drawn anew" aria-describedby="mask-keys"></canvas>
<div class="photo-cursor" hidden></div>
</div>
</div>
<p class="visually-hidden" id="mask-keys">Arrow keys move the brush, Space lowers and lifts it, B is the brush, E the eraser, brackets change its size, Control and Z undoes.</p>
<p class="photo-help" id="mask-help">Hatched parts are drawn anew. In a mask file, white is drawn anew.</p>
</section>
<p class="photo-drop" aria-hidden="true">Drop it anywhere</p>`
}

/** @param held whether it stays pressed */
function tool(action: string, label: string, title: string, held = false): Html {
  const named = label.length < 2 && html` aria-label="${title}"`
  return html`<button class="btn text" type="button" data-photo="${action}" title="${title}"${named}${held && html` aria-pressed="false"`}>${label}</button>`
}
