import type { CatalogueView, ItemPage, ItemView } from '../../jobs/catalogue/view.ts'
import { type Html, html } from './html.ts'
import { againIcon, downloadIcon, stopIcon, warningIcon } from './icons.ts'
import { duration } from './words.ts'

/** A catalogue run whose lines fill. */

export function headlineOf({ status, counts, pictures }: CatalogueView): string {
  const { succeeded, failed } = counts
  const wrong = failed > 0 ? `, ${failed} failed` : ''
  switch (status) {
    case 'running':
      return `${succeeded} of ${pictures} are there${wrong}`
    case 'paused':
      return `Paused: ${succeeded} of ${pictures} are there${wrong}`
    case 'canceling':
      return 'Stopping'
    case 'canceled':
      return `Canceled: ${succeeded} of ${pictures} are there${wrong}`
    case 'finished':
      return failed === 0 ? 'Done' : `Done: ${succeeded} are there${wrong}`
  }
}

export function runPage(run: CatalogueView, page: ItemPage, cursor: number): Html {
  return html`<div class="room run-page">
<div class="room-head"><h1>A run of ${run.pictures === 1 ? 'one picture' : `${run.pictures} pictures`}</h1><a class="btn outlined" href="/catalogues">Another list</a></div>
<p class="room-note">${sumOf(run)}</p>
${runState(run)}
<div class="card run-lines">${runLines(run.id, cursor, page)}</div>
</div>`
}

/** "12 products × 2 sets = 24 pictures"; catalogue.js says the same of a list before it is sent. */
function sumOf({ rows, sets = [], variants, pictures, expires_at }: CatalogueView): string {
  const count = (many: number, one: string) => `${many} ${one}${many === 1 ? '' : 's'}`
  const factors = [
    count(rows, 'product'),
    ...(sets.length > 1 ? [`${sets.length} sets`] : []),
    ...(variants > 1 ? [`${variants} each`] : []),
  ]
  const kept = (Date.parse(expires_at) - Date.now()) / 1000
  return `${factors.join(' × ')} = ${count(pictures, 'picture')}, made while nobody else waits. They are kept for ${duration(kept)}.`
}

/** Bar, counts and buttons. While anything moves it asks for its replacement. */
export function runState(run: CatalogueView): Html {
  const { id, status, counts, pictures, eta_seconds, held_up, poll_after_ms } = run
  const { succeeded, failed } = counts
  const pause = Math.min(5000, poll_after_ms ?? 0)
  const poll =
    poll_after_ms !== undefined &&
    html` hx-get="/catalogues/${id}/state" hx-trigger="load delay:${pause}ms" hx-swap="outerHTML"`
  return html`<section class="card run-state" id="run-state" data-run="${id}" data-status="${status}"${poll}>
<p class="job-state"><span>${headlineOf(run)}</span>${eta_seconds !== undefined && html`<span>about ${duration(eta_seconds)} left</span>`}</p>
<progress class="job-progress" aria-label="Progress" max="${pictures}" value="${succeeded + failed}"></progress>
${held_up !== undefined && html`<p class="run-held">${warningIcon()}<span>Waits: ${held_up.message}</span></p>`}
<div class="run-buttons">${buttonsOf(run)}</div>
</section>`
}

function buttonsOf({ id, status, counts, links }: CatalogueView): Html[] {
  const button = (action: string, label: string, icon: Html | false = false) =>
    html`<form method="post" action="/catalogues/${id}/${action}" hx-post="/catalogues/${id}/${action}" hx-target="#run-state" hx-swap="outerHTML"><button class="btn outlined" type="submit">${icon}${label}</button></form>`
  const buttons: Html[] = []
  if (counts.succeeded > 0) {
    buttons.push(html`<a class="btn filled" href="${links.pictures}" download>${downloadIcon()}ZIP</a>`)
    buttons.push(html`<a class="btn text" href="${links.manifest}" download>List of files</a>`)
  }
  if (status === 'running') buttons.push(button('pause', 'Pause'))
  if (status === 'paused') buttons.push(button('resume', 'Resume'))
  if (status === 'running' || status === 'paused') buttons.push(button('cancel', 'Cancel', stopIcon()))
  const over = status === 'finished' || status === 'canceled'
  if (over && counts.failed + counts.canceled > 0) {
    buttons.push(
      button('retry', counts.canceled > 0 ? 'Make the rest' : `Retry ${counts.failed} failed`, againIcon()),
    )
  }
  return buttons
}

/** Lines asked for at once. */
export const linesAtOnce = 20

/**
 * A piece of the lines, and the place of the next one. A piece with a line that waits asks for its replacement while it is
 * in view, and only then; the next piece is loaded when its place comes into view.
 */
export function runLines(id: string, cursor: number, page: ItemPage): Html {
  const { next } = page
  return html`${runPiece(id, cursor, page)}${
    next !== undefined &&
    html`<a class="run-more btn text" href="/catalogues/${id}?cursor=${next}" hx-get="/catalogues/${id}/lines?cursor=${next}&amp;more=1" hx-trigger="revealed" hx-swap="outerHTML">More lines</a>`
  }`
}

export function runPiece(id: string, cursor: number, { rows }: ItemPage): Html {
  const moves = rows.some(({ status }) => status === 'waiting' || status === 'running')
  const poll =
    moves &&
    html` hx-get="/catalogues/${id}/lines?cursor=${cursor}" hx-trigger="intersect once delay:3000ms" hx-swap="outerHTML"`
  return html`<ul class="run-piece" id="lines-${cursor}"${poll}>${rows.map(line)}</ul>`
}

const words = {
  waiting: 'Waiting',
  running: 'In progress',
  succeeded: 'Done',
  failed: 'Failed',
  canceled: 'Canceled',
} as const

function line({ status, file, prompt, link, error }: ItemView): Html {
  const picture =
    link === undefined
      ? html`<span class="run-thumb" aria-hidden="true"></span>`
      : html`<a class="run-thumb" href="${link}" target="_blank" rel="noopener"><img src="${link}/thumbnail?side=128" alt="${prompt}" loading="lazy" decoding="async" width="48" height="48"></a>`
  return html`<li class="run-line is-${status}">${picture}<span class="run-what"><b>${file}</b><span dir="auto">${prompt}</span>${error !== undefined && html`<span class="field-error">${error.message}</span>`}</span><span class="run-status">${words[status]}</span></li>`
}
