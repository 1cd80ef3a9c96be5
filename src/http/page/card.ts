import type { ModelInfo } from '../../jobs/offer.ts'
import { isFinal, type JobView } from '../../jobs/serving/job-view.ts'
import { failureSentence, forOperator } from './failure.ts'
import { type Html, html } from './html.ts'
import { noteIcon, warningIcon } from './icons.ts'
import { actions } from './job-actions.ts'
import { pictures } from './pictures.ts'
import { settingsList } from './settings-list.ts'
import type { Size } from './sizes.ts'
import { announcement, duration, headline } from './words.ts'

export interface CardOptions {
  /** The size of a picture whose request is not known: that of the model. */
  readonly usual: Size
  /** What is offered now: decides what can be done with a picture. */
  readonly models?: readonly ModelInfo[]
  /** The visitor pressed "Cancel", and the worker has not stopped yet. */
  readonly stopping?: boolean
  /** The job was accepted just now; this is its first card. */
  readonly isNew?: boolean
  /** On a page of its own, without the form. */
  readonly alone?: boolean
}

/**
 * One job, as it is on the stage. Until it is final the card polls for its replacement (`pauseMs`; wall.js asks seldom
 * while the page is hidden, and live.js not at all while it is told of each change); the final card no longer polls.
 *
 * For scripts: `data-job` and `data-status` say what the card shows, `data-say` what a screen reader announces
 * when the status changes, and the event `retry` polls again after a missing answer.
 */
export function jobCard(view: JobView, options: CardOptions): Html {
  return html`<article class="job is-${view.status}${options.isNew === true && ' is-new'}" id="job-${view.id}" data-job="${view.id}" data-status="${view.status}" data-say="${announcement(view)}" aria-labelledby="job-${view.id}-title" tabindex="-1"${polling(view, options)}>
<div class="job-set">${pictures(view, options.usual)}</div>
<div class="job-body">
<h3 class="job-title" id="job-${view.id}-title" dir="auto"><a id="job-${view.id}-link" href="/jobs/${view.id}">${view.request?.prompt ?? 'Your picture'}</a></h3>
${state(view, options)}
${notes(view)}
${actions(view, options)}
${settingsList(view, options)}
${expiry(view)}
</div>
</article>`
}

/** A job with nothing left to show. */
export function goneCard(title: string, message: string): Html {
  return html`<article class="job is-gone" data-status="gone" data-say="${title}"><div class="job-body"><h3 class="job-title">${title}</h3><p class="job-state">${message}</p></div></article>`
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

function state(view: JobView, { stopping }: CardOptions): Html | false {
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

/** One line under the title: what the picture is. stage.js adds how much it is enlarged. */
function facts(view: JobView): Html | false {
  const [image] = view.images
  if (image === undefined) return false
  return html`<p class="job-facts"><span>${image.width} × ${image.height}</span><span class="job-scale"></span></p>`
}

/** What may not turn out as intended; omitted for a canceled job. */
function notes({ status, notes = [] }: JobView): Html | false {
  if (status === 'canceled' || notes.length === 0) return false
  return html`<div class="job-notes">${noteIcon()}<div>${notes.map((note) => html`<p>${note}</p>`)}</div></div>`
}

/** When the pictures are deleted; wall.js keeps it true, and keeps a line of the card afterwards. */
function expiry({ status, expires_at }: JobView): Html | false {
  if (status !== 'succeeded') return false
  const seconds = (Date.parse(expires_at) - Date.now()) / 1000
  return html`<p class="job-expiry" data-expires="${expires_at}">${seconds > 0 ? `Goes in ${duration(seconds)}` : 'Goes now'}</p>`
}
