import { isFinal, type JobView } from '../../jobs/serving/job-view.ts'
import { failureSentence, forOperator, mendingButton } from './failure.ts'
import { againAddress } from './form-values.ts'
import { type Html, html } from './html.ts'
import { againIcon, cameraIcon, downloadIcon, noteIcon, stopIcon, warningIcon } from './icons.ts'
import { pictures } from './pictures.ts'
import { resend } from './resend.ts'
import type { Size } from './sizes.ts'
import { announcement, duration, headline, secondsTaken } from './words.ts'

export interface CardOptions {
  /** The size of a picture whose request is not known: that of the model. */
  readonly usual: Size
  /** The visitor pressed "Cancel", and the worker has not stopped yet. */
  readonly stopping?: boolean
  /** The job was accepted just now; this is its first card. */
  readonly isNew?: boolean
}

/**
 * One job. Until it is final the card polls for its replacement (`pauseMs`; wall.js asks seldom while the page is
 * hidden); the final card no longer polls.
 *
 * For wall.js: `data-job` and `data-status` say what the card shows, `data-say` what a screen reader announces
 * when the status changes, and the event `retry` polls again after a missing answer.
 */
export function jobCard(view: JobView, options: CardOptions): Html {
  return html`<article class="card job is-${view.status}${options.isNew === true && ' is-new'}" id="job-${view.id}" data-job="${view.id}" data-status="${view.status}" data-say="${announcement(view)}" aria-labelledby="job-${view.id}-title" tabindex="-1"${polling(view, options)}>
${pictures(view, options.usual)}
<div class="job-body">
<h3 class="job-title" id="job-${view.id}-title" dir="auto"><a id="job-${view.id}-link" href="/jobs/${view.id}">${view.request?.prompt ?? 'Your picture'}</a></h3>
${state(view, options)}
${notes(view)}
${actions(view, options)}
${expiry(view)}
</div>
</article>`
}

/** A job with nothing left to show. */
export function goneCard(title: string, message: string): Html {
  return html`<article class="card job is-gone" data-status="gone" data-say="${title}"><div class="job-body"><h3 class="job-title">${title}</h3><p class="job-state">${message}</p></div></article>`
}

function polling(view: JobView, { stopping }: CardOptions): Html | false {
  const query = stopping === true && '?stopping=1'
  return (
    !isFinal(view) &&
    html` hx-get="/jobs/${view.id}/card${query}" hx-trigger="load delay:${pauseMs(view)}ms, retry" hx-swap="outerHTML" hx-sync="this:drop"`
  )
}

const secondMs = 1000
const longestPauseMs = 5000

/**
 * Milliseconds until a card is asked for again. `poll_after_ms` saves requests of programs; somebody who looks at a card
 * wants to see it move, and an answer costs the status store alone. So each second for a job that runs or is
 * next, less often behind others. Not a request held open until the job is final: a browser has six
 * connections to a server, and as many cards would keep all others waiting.
 */
function pauseMs({ status, position = 0, poll_after_ms = secondMs }: JobView): number {
  const pause = status === 'running' ? secondMs : Math.min(longestPauseMs, secondMs * (1 + position))
  return Math.min(pause, poll_after_ms)
}

function state(view: JobView, { stopping }: CardOptions): Html {
  switch (view.status) {
    case 'queued':
      return html`<p class="job-state"><span>${headline(view)}</span>${timeLeft(view)}</p>
<progress class="job-progress" aria-label="Progress" max="1" value="0"></progress>`
    case 'running':
      return html`<p class="job-state"><span>${stopping === true ? 'Stopping' : stepOf(view)}</span>${timeLeft(view)}</p>
${progressBar(view)}`
    case 'succeeded':
      return facts(view)
    case 'failed':
      return html`<p class="job-state job-error">${warningIcon()}<span>${failureSentence(view)}</span></p>${forOperator(view)}`
    case 'canceled':
      return html`<p class="job-state">${headline(view)}. No picture was taken.</p>`
  }
}

/** The service counts steps over all pictures of a job, people those of a picture. wall.js does the same between answers. */
function stepOf(view: JobView): Html {
  const { progress } = view
  if (progress === undefined) return html`${headline(view)}`
  const count = view.request?.count ?? 1
  const each = progress.steps / count
  const picture = Math.min(count, Math.floor(progress.step / each) + 1)
  const step = html`<span data-step>${Math.floor(progress.step - (picture - 1) * each)}</span> of ${Math.ceil(each)}`
  return count === 1
    ? html`Step ${step}`
    : html`Picture <span data-picture>${picture}</span> of ${count}, step ${step}`
}

/** Without a `value` the bar only shows activity. */
function progressBar({ progress, eta_seconds, request }: JobView): Html {
  if (progress === undefined) return html`<progress class="job-progress" aria-label="Progress"></progress>`
  return html`<progress class="job-progress" aria-label="Progress" max="${progress.steps}" value="${progress.step}" data-left="${eta_seconds}" data-count="${request?.count ?? 1}"></progress>`
}

function timeLeft({ eta_seconds }: JobView): Html | false {
  return (
    eta_seconds !== undefined &&
    html`<span class="job-eta" data-eta="${eta_seconds}">${duration(eta_seconds)} left</span>`
  )
}

function facts(view: JobView): Html {
  const { request } = view
  const taken = secondsTaken(view)
  if (request === undefined) return html`<p class="job-state">${headline(view)}</p>`
  return html`<dl class="facts">
<div><dt>Seed</dt><dd>${request.seed}</dd></div>
<div><dt>Size</dt><dd>${request.width} × ${request.height}</dd></div>
<div><dt>Steps</dt><dd>${request.steps}</dd></div>
${taken !== undefined && html`<div><dt>Time</dt><dd>${taken.toFixed(1)} s</dd></div>`}
</dl>`
}

/** What may not turn out as intended; omitted for a canceled job. */
function notes({ status, notes = [] }: JobView): Html | false {
  if (status === 'canceled' || notes.length === 0) return false
  return html`<div class="job-notes">${noteIcon()}<div>${notes.map((note) => html`<p>${note}</p>`)}</div></div>`
}

function actions(view: JobView, { stopping }: CardOptions): Html {
  if (!isFinal(view)) return html`<div class="job-actions">${cancel(view.id, stopping === true)}</div>`
  const { request } = view
  const [image, ...others] = view.images
  const download =
    image !== undefined &&
    others.length === 0 &&
    html`<a class="btn tonal" href="${image.url}?download=1" download>${downloadIcon()}<span>Download</span></a>`
  const again =
    request !== undefined &&
    html`<a class="btn outlined" href="${againAddress(view.id, request, request.seed, request.count)}" data-fill>${againIcon()}<span>Copy settings</span></a>`
  const send =
    view.status === 'failed' ? mendingButton(view) : view.status === 'succeeded' && moreLikeThis(view)
  return html`<div class="job-actions">${download}${send}${again}</div>`
}

/** Without the seed, so that another picture comes of the same words. */
function moreLikeThis({ request }: JobView): Html | false {
  if (request === undefined) return false
  const { seed: _seed, ...settings } = request
  return resend(settings, 'More like this', cameraIcon())
}

/** When the pictures are deleted; wall.js keeps it true, and keeps a line of the card afterwards. */
function expiry({ status, expires_at }: JobView): Html | false {
  if (status !== 'succeeded') return false
  const seconds = (Date.parse(expires_at) - Date.now()) / 1000
  return html`<p class="job-expiry" data-expires="${expires_at}">${seconds > 0 ? `Goes in ${duration(seconds)}` : 'Goes now'}</p>`
}

/**
 * A form, so that it works without JavaScript. It aborts a poll of the card that is in flight, and the card does not
 * poll while it is being sent. The ids here and in the title let htmx restore the focus when the card is replaced.
 */
function cancel(id: string, stopping: boolean): Html {
  return html`<form method="post" action="/jobs/${id}/cancel" hx-post="/jobs/${id}/cancel" hx-target="closest article" hx-swap="outerHTML" hx-sync="closest article:replace"><button class="btn text" id="job-${id}-cancel" type="submit"${stopping && html` aria-disabled="true"`}>${stopIcon()}<span>${stopping ? 'Stopping…' : 'Cancel'}</span></button></form>`
}
