import type { ResolvedRequest } from '../../jobs/job.ts'
import type { ImageView, JobView } from '../../jobs/serving/job-view.ts'
import { isFinal } from '../../jobs/serving/job-view.ts'
import type { CardOptions } from './card.ts'
import { mendingButton } from './failure.ts'
import { finishAgain } from './finish-again.ts'
import { againAddress } from './form-values.ts'
import { type Html, html } from './html.ts'
import {
  brushIcon,
  cameraIcon,
  compareIcon,
  deleteIcon,
  downloadIcon,
  photoIcon,
  settingsIcon,
  stopIcon,
  varyIcon,
} from './icons.ts'
import { resend } from './resend.ts'

/** What can be done with a job. All are links and forms, so that they work without JavaScript. */
export function actions(view: JobView, options: CardOptions): Html {
  if (!isFinal(view))
    return html`<div class="job-actions">${stopHere(view, options)}${cancel(view.id, options.stopping === true)}</div>`
  const sets = view.images.map((image, index) => ofPicture(view, image, index, options))
  const mend = view.status === 'failed' && mendingButton(view)
  return html`${view.images.length > 1 ? sheet(view.images.length) : false}
${sets}
<div class="job-actions">${view.status === 'succeeded' && moreLikeThis(view)}${mend}${copySettings(view, options)}${view.status === 'succeeded' && remove(view.id)}</div>
<div class="job-answer" id="job-${view.id}-answer"></div>`
}

/** All pictures, or one of them: for stage.js. */
function sheet(count: number): Html {
  const button = (show: string, label: string, name: string) =>
    html`<button class="segment" type="button" data-show="${show}" aria-pressed="${String(show === 'all')}" aria-label="${name}">${label}</button>`
  const one = (index: number) => button(String(index), String(index + 1), `Picture ${index + 1}`)
  return html`<div class="segment-row sheet js-only" role="group" aria-label="Pictures on the stage">${button('all', 'All', 'All pictures')}${Array.from({ length: count }, (_, index) => one(index))}</div>`
}

/** stage.js shows those of the picture that is looked at. */
function ofPicture(view: JobView, image: ImageView, index: number, options: CardOptions): Html {
  const { id, request, images } = view
  const many = images.length > 1
  const model = options.models?.find(({ name }) => name === request?.model)
  const number = html`<input type="hidden" name="index" value="${index}">`
  const name = many ? ` ${index + 1}` : ''
  const asPhoto = (label: string, icon: Html, paint: boolean) =>
    html`<form method="post" action="/jobs/${id}/photo"${options.alone !== true && html` hx-post="/jobs/${id}/photo" hx-target="#request" hx-swap="outerHTML"`}>${number}${paint && html`<input type="hidden" name="paint" value="1">`}<button class="btn text" type="submit">${icon}<span>${label}</span></button></form>`
  return html`<div class="picture-actions" data-of="${index}">
${many && html`<p class="picture-name">Picture ${index + 1}, seed ${image.seed}</p>`}
${measured(image)}
<a class="btn filled" href="${image.url}?download=1" download${many && html` aria-label="Download picture ${index + 1}"`}>${downloadIcon()}<span>Download${name}</span></a>
${finishAgain(view, index)}
${image.original !== undefined && html`<a class="btn text" href="${image.original}?download=1" download>${downloadIcon()}<span>Original, as drawn</span></a>`}
${
  model?.image_to_image === true &&
  html`<form method="post" action="/jobs/${id}/vary" data-send>${number}<button class="btn text" type="submit">${varyIcon()}<span>Vary a little</span></button></form>
${asPhoto('Change a part', brushIcon(), true)}
${asPhoto('Use as photo', photoIcon(), false)}`
}
${request !== undefined && beforeAndAfter(request, image)}
</div>`
}

/** A finished picture has its product elsewhere than the photo: what is compared is the picture as it was drawn. */
function beforeAndAfter(request: ResolvedRequest, { original }: ImageView): Html | false {
  const { init_image, keep, strength = 1, width, height } = request
  if (init_image === undefined) return false
  const isPlacedAnew = keep !== undefined || (strength === 0 && original !== undefined)
  const drawn =
    original !== undefined && html` data-drawn="${original}" data-width="${width}" data-height="${height}"`
  return html`<button class="btn text js-only" type="button" data-compare="/v1/uploads/${init_image}"${isPlacedAnew ? html` data-whole` : drawn} aria-pressed="false">${compareIcon()}<span>${isPlacedAnew ? 'Its photo' : 'Before and after'}</span></button>`
}

/** What a finished picture was measured to be, against what was asked for. */
function measured({ measured: figures }: ImageView): Html | false {
  if (figures === undefined) return false
  const { border_white: border, product, inside, tries, missed = [] } = figures
  const facts = [
    border !== undefined && (border === 1 ? 'Border exact' : `Border ${(border * 100).toFixed(1)} % exact`),
    product > 0 ? `fills ${Math.round(product)} %` : 'no product found',
    product > 0 && !inside && 'cut by the frame',
    tries > 1 && `best of ${tries} tries`,
  ]
  return html`<p class="job-measured${missed.length > 0 && ' is-missed'}">${facts.filter((each) => each !== false).join(' · ')}</p>`
}

/** Without the seed, so that another picture comes of the same words. */
function moreLikeThis({ request }: JobView): Html | false {
  // with a strength of 0 nothing is drawn: no other picture comes of it
  if (request === undefined || request.strength === 0) return false
  const { seed: _seed, ...settings } = request
  return resend(settings, 'More like this', cameraIcon())
}

function copySettings({ id, request }: JobView, { models }: CardOptions): Html | false {
  if (request === undefined) return false
  const model = models?.find(({ name }) => name === request.model)
  const address = againAddress(id, request, undefined, request.count, model)
  return html`<a class="btn text" href="${address}" data-fill>${settingsIcon()}<span>Copy settings</span></a>`
}

/** htmx asks before it is sent; without it the page that answers asks. */
function remove(id: string): Html {
  return html`<form method="post" action="/jobs/${id}/delete" hx-confirm="Delete these pictures for good?" hx-post="/jobs/${id}/delete" hx-target="closest article" hx-swap="outerHTML"><button class="btn text" type="submit">${deleteIcon()}<span>Delete</span></button></form>`
}

/** Of several pictures those that are done stay; with none the job is canceled. */
function stopHere({ id, status, request }: JobView, { stopping }: CardOptions): Html | false {
  if (status !== 'running' || stopping === true || (request?.count ?? 1) < 2) return false
  return html`<form method="post" action="/jobs/${id}/cancel" hx-post="/jobs/${id}/cancel" hx-target="closest article" hx-swap="outerHTML" hx-sync="closest article:replace"><input type="hidden" name="keep" value="1"><button class="btn outlined" id="job-${id}-stop" type="submit">${stopIcon()}<span>Stop, keep what is done</span></button></form>`
}

/**
 * It aborts a poll of the card that is in flight, and the card does not poll while it is being sent. The ids here and in
 * the title let htmx restore the focus when the card is replaced.
 */
function cancel(id: string, stopping: boolean): Html {
  return html`<form method="post" action="/jobs/${id}/cancel" hx-post="/jobs/${id}/cancel" hx-target="closest article" hx-swap="outerHTML" hx-sync="closest article:replace"><button class="btn outlined" id="job-${id}-cancel" type="submit"${stopping && html` aria-disabled="true"`}>${stopIcon()}<span>${stopping ? 'Stopping…' : 'Cancel'}</span></button></form>`
}
