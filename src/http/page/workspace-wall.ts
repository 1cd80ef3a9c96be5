import type { SeenJob, WorkspaceJob } from '../../jobs/serving/workspace.ts'
import { againAddress } from './form-values.ts'
import { type Html, html } from './html.ts'
import { againIcon, warningIcon } from './icons.ts'

/** The list of a workspace as cards, newest first. */

/** Cards shown at once: each is looked up. */
export const cardsAtOnce = 24

export interface Wall {
  readonly seen: readonly SeenJob[]
  /** Where the list continues. */
  readonly next: number | undefined
  /** Whether a cleared list can be brought back. */
  readonly cleared: boolean
}

/** @param card of a job that is there */
export function wallCards(
  { seen, next, cleared }: Wall,
  card: (view: NonNullable<SeenJob['view']>) => Html,
): Html {
  return html`${seen.map(({ job, view, missing }) =>
    view === undefined ? goneLine(job, missing) : card(view),
  )}${next !== undefined && olderLink(next)}${cleared && seen.length === 0 && restoreForm()}`
}

/** What the status store could not tell: nothing is lost but the list. */
export function wallUnavailable(): Html {
  return html`<p class="wall-note" role="status">${warningIcon()}<span>The list of your pictures cannot be read at the moment. New pictures are made as always, each on a page of its own.</span></p>`
}

/** A job whose pictures are gone: what it was, and a way to make it again. */
export function goneLine(
  { id, title, request, expires_at }: WorkspaceJob,
  missing: SeenJob['missing'],
): Html {
  const again =
    request !== undefined &&
    html`<a class="btn outlined" href="${againAddress(id, request, request.seed, request.count)}" data-fill>${againIcon()}<span>Make it again</span></a>`
  const words =
    missing === 'unavailable'
      ? html`This cannot be shown at the moment.`
      : html`The pictures were deleted on <time datetime="${expires_at}">${dayOf(expires_at)}</time>.`
  return html`<article class="card job is-gone" id="job-${id}" data-gone="${id}"><div class="job-body"><h3 class="job-title" dir="auto">${title}</h3><p class="job-state"><span>${words}</span></p><div class="job-actions">${again}${removeForm(id)}</div></div></article>`
}

/** Takes a line out of the list. A form, so that it works without JavaScript. */
function removeForm(id: string): Html {
  return html`<form method="post" action="/workspace/remove" hx-post="/workspace/remove" hx-target="closest article" hx-swap="delete"><input type="hidden" name="job" value="${id}"><button class="btn text" type="submit">Remove</button></form>`
}

function olderLink(next: number): Html {
  return html`<a class="btn text wall-older" id="older" href="/pictures" hx-get="/workspace/jobs?after=${next}" hx-target="this" hx-swap="outerHTML">Show older pictures</a>`
}

/** Empties the list; shown while there is something in it. */
export function clearForm(): Html {
  return html`<form class="wall-clear" method="post" action="/workspace/clear" hx-post="/workspace/clear" hx-target="#jobs" hx-swap="innerHTML"><button class="btn text" type="submit" id="clear-list">Clear the list</button></form>`
}

function restoreForm(): Html {
  return html`<form class="wall-restore" data-say-list="The list is empty. A button brings it back." method="post" action="/workspace/restore" hx-post="/workspace/restore" hx-target="#jobs" hx-swap="innerHTML"><p>You cleared the list. The pictures are kept as long as before.</p><button class="btn tonal" type="submit" autofocus>Bring the list back</button></form>`
}

/** A day and time in UTC, for want of the visitor's zone. */
function dayOf(time: string): string {
  return `${time.slice(0, 10)}, ${time.slice(11, 16)} UTC`
}
