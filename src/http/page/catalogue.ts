import type { CatalogueView, ItemPage, ItemView } from '../../jobs/catalogue/view.ts'
import type { AppError } from '../../jobs/errors.ts'
import { type Html, html } from './html.ts'
import { cameraIcon, downloadIcon, stopIcon, warningIcon } from './icons.ts'
import { duration } from './words.ts'

/** The page of catalogue runs: a form for a list, and a run whose lines fill. */

export interface CatalogueValues {
  readonly list: string
  readonly prompt: string
  readonly name: string
  readonly variants: string
}

export const firstValues: CatalogueValues = { list: '', prompt: '{prompt}', name: '{row}', variants: '1' }

/** A longer list is not sent back with its faults. */
const longestShown = 262_144

export function cataloguePage(
  values: CatalogueValues,
  runs: readonly CatalogueView[],
  error?: AppError,
): Html {
  const list = values.list.length > longestShown ? '' : values.list
  return html`<div class="intro">
<h1>A whole catalogue</h1>
<p>One picture, or a few, for each line of a list. They are made while nobody else waits.</p>
</div>
<div class="studio">
<form class="card request list-form" id="list-form" method="post" action="/catalogues">
${error !== undefined && faultsOf(error)}
<div class="field"><label for="list">Your list</label>
<textarea id="list" name="list" rows="8" required spellcheck="false" placeholder="sku,title,colour&#10;A-1,olive oil bottle,green" aria-describedby="list-help">${list}</textarea>
<div class="field-notes"><p class="field-help" id="list-help">CSV with the names of its columns in the first line, pasted or dropped here. <label class="list-file js-only">Choose a file<input class="visually-hidden" type="file" id="list-file" accept=".csv,.tsv,.txt,text/csv"></label></p></div></div>
<div class="field"><label for="template">What should be in each picture?</label>
<textarea id="template" name="prompt" rows="2" required aria-describedby="template-help">${values.prompt}</textarea>
<div class="field-notes"><p class="field-help" id="template-help">{column} stands for a cell of the line.</p></div></div>
<div class="picks js-only" id="columns" role="group" aria-label="Columns"></div>
<div class="field-row">
<div class="field"><label for="file-name">File names</label><input id="file-name" name="name" type="text" value="${values.name}" required autocomplete="off"></div>
<div class="field"><label for="variants">Pictures per line</label><input id="variants" name="variants" type="number" min="1" max="8" value="${values.variants}" required></div>
</div>
<button class="btn filled shutter" type="submit">${cameraIcon()}<span>Check the list and start</span></button>
</form>
<section class="studio-wall" aria-labelledby="runs-title"><div class="wall-head"><h2 id="runs-title">Your runs</h2></div>
<ul class="runs" id="runs">${runs.map(
    (run) =>
      html`<li><a href="/catalogues/${run.id}">${run.pictures} pictures, ${day(run.created_at)}</a> <span>${headlineOf(run)}</span></li>`,
  )}</ul>
<p class="runs-empty">A run stays here while its pictures are kept.</p>
</section>
</div>`
}

function day(time: string): string {
  return time.slice(0, 16).replace('T', ' ')
}

function faultsOf({ message, faults, faultCount }: AppError): Html {
  const rows = faults.filter(({ row }) => row !== undefined)
  if (rows.length === 0)
    return html`<p class="form-error" role="alert">${warningIcon()}<span>${message}</span></p>`
  return html`<div class="form-error list-faults" role="alert"><p><b>${faultCount === 1 ? 'One fault' : `${faultCount} faults`}: nothing was started.</b></p>
<ul>${rows.map((fault) => html`<li>${fault.message}</li>`)}</ul>${faultCount > rows.length && html`<p>And ${faultCount - rows.length} more.</p>`}</div>`
}

function headlineOf({ status, counts, pictures }: CatalogueView): string {
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
  return html`<div class="single run-page">
<h1>A run of ${run.pictures} pictures</h1>
${runState(run)}
<div class="card run-lines">${runLines(run.id, cursor, page)}</div>
<p><a class="btn outlined" href="/catalogues">Another list</a></p>
</div>`
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
  if (over && counts.failed + counts.canceled > 0) buttons.push(button('retry', 'Make the rest'))
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
