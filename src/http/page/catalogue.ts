import type { CatalogueView } from '../../jobs/catalogue/view.ts'
import type { AppError } from '../../jobs/errors.ts'
import { finishPresets } from '../../jobs/finish.ts'
import type { Look } from '../../jobs/serving/workspace.ts'
import { columnNames } from './catalogue-list.ts'
import { headlineOf } from './catalogue-run.ts'
import { setChoices } from './catalogue-sets.ts'
import { type Html, html } from './html.ts'
import { cameraIcon, warningIcon } from './icons.ts'

/** The page of catalogue runs: products, sets and looks in one form, and the runs that there are. */

export interface CatalogueValues {
  readonly list: string
  readonly prompt: string
  readonly name: string
  readonly variants: string
  readonly finish_preset: string
  /** Ids of uploads by the names of their files, as JSON. */
  readonly photos: string
  /** What is ticked. */
  readonly sets: readonly string[]
  readonly looks: readonly string[]
}

export const firstValues: CatalogueValues = {
  list: '',
  prompt: '{product}',
  name: '{sku}_{set}_{seed}',
  variants: '1',
  finish_preset: 'shop_square',
  photos: '',
  sets: ['pure'],
  looks: [],
}

/** A longer list is not sent back with its faults. */
const longestShown = 262_144

interface CataloguePage {
  readonly values: CatalogueValues
  /** Undefined: they cannot be read now. */
  readonly looks: readonly Look[] | undefined
  readonly runs: readonly CatalogueView[] | undefined
  /** Seconds for a picture of the default model while all workers make this run's; undefined if not known. */
  readonly seconds: number | undefined
  readonly error?: AppError
}

export function cataloguePage({ values, looks, runs, seconds, error }: CataloguePage): Html {
  const list = values.list.length > longestShown ? '' : values.list
  return html`<div class="room catalogue">
<div class="room-head"><h1>Catalogue</h1></div>
<div class="catalogue-parts">
<form class="list-form" id="list-form" method="post" action="/catalogues" data-columns="${Object.values(columnNames).flat().join(' ')}"${seconds !== undefined && html` data-seconds="${seconds}"`}>
${error !== undefined && faultsOf(error)}
<div class="field"><label for="list">Products</label>
<textarea id="list" name="list" rows="8" required spellcheck="false" placeholder="A-1; a green olive oil bottle&#10;A-2; a red mug; mug.jpg" aria-describedby="list-help">${list}</textarea>
<div class="field-notes"><p class="field-help" id="list-help">One in each line: <code>sku; product; photo</code>, or the words alone. Or a CSV whose first line names the columns. <label class="list-file js-only">Choose a file<input class="visually-hidden" type="file" id="list-file" accept=".csv,.tsv,.txt,text/csv"></label></p></div>
<div class="list-photos js-only"><label class="btn tonal" for="list-photos">Add photos</label><input class="visually-hidden" type="file" id="list-photos" accept="image/png,image/jpeg,image/webp" multiple><input type="hidden" name="photos" value="${values.photos}"><p class="field-help" id="photo-help" role="status">A line may name a photo: its product is kept, and the set drawn around it.</p></div></div>
<fieldset class="list-sets"><legend>Sets</legend><div class="swatches">${setChoices.map(({ value, label }) => setBox(value, label, values.sets.includes(value)))}</div></fieldset>
${looks !== undefined && looks.length > 0 && html`<fieldset class="list-looks"><legend>Looks</legend><div class="look-boxes">${looks.map(({ name }) => lookBox(name, values.looks.includes(name)))}</div></fieldset>`}
<div class="field-row">
<div class="field"><label for="finish_preset">Format</label><select id="finish_preset" name="finish_preset"><option value="">As drawn</option>${Object.entries(finishPresets).map(([name, { title, width, height }]) => html`<option value="${name}"${name === values.finish_preset && html` selected`}>${title}, ${width} × ${height}</option>`)}</select></div>
<div class="field"><label for="variants">Pictures of each</label><input id="variants" name="variants" type="number" min="1" max="8" value="${values.variants}" required></div>
</div>
<details class="list-fine"${(values.prompt !== firstValues.prompt || values.name !== firstValues.name) && html` open`}><summary>Words and file names</summary>
<div class="field"><label for="template">Words of each picture</label>
<textarea id="template" name="prompt" rows="2" required aria-describedby="template-help">${values.prompt}</textarea>
<div class="field-notes"><p class="field-help" id="template-help">{column} stands for a cell of the line. The words of the set follow by themselves.</p></div></div>
<div class="picks js-only" id="columns" role="group" aria-label="Columns"></div>
<div class="field"><label for="file-name">File names</label><input id="file-name" name="name" type="text" value="${values.name}" required autocomplete="off" aria-describedby="name-help"><div class="field-notes"><p class="field-help" id="name-help">{set} and {seed} are those of the picture.</p></div></div>
</details>
<div class="list-foot"><p class="list-sum js-only" id="list-sum" role="status"></p>
<button class="btn filled shutter" type="submit">${cameraIcon()}<span>Check the list and start</span></button></div>
</form>
${runList(runs)}
</div>
</div>`
}

function setBox(value: string, label: string, ticked: boolean): Html {
  return html`<label class="swatch"><span class="swatch-set is-${value}" aria-hidden="true"></span><span class="swatch-name">${label}</span><input class="visually-hidden" type="checkbox" name="set:${value}" value="1"${ticked && html` checked`}></label>`
}

function lookBox(name: string, ticked: boolean): Html {
  return html`<label class="pick look-box"><input type="checkbox" name="look:${name}" value="1"${ticked && html` checked`}><span dir="auto">${name}</span></label>`
}

function runList(runs: readonly CatalogueView[] | undefined): Html {
  const words =
    runs === undefined
      ? html`<p class="room-note" role="status">${warningIcon()}<span>The list of your runs cannot be read at the moment. Runs go on.</span></p>`
      : runs.length === 0
        ? html`<p class="runs-empty">Nothing yet. A run and its pictures stay here for as long as they are kept.</p>`
        : html`<ul class="runs">${runs.map(runLine)}</ul>`
  return html`<section class="catalogue-runs" aria-labelledby="runs-title"><h2 id="runs-title">Your runs</h2>${words}</section>`
}

function runLine(run: CatalogueView): Html {
  const { id, pictures, created_at, counts } = run
  return html`<li><a href="/catalogues/${id}">${pictures === 1 ? 'One picture' : `${pictures} pictures`}, ${day(created_at)}</a><progress class="job-progress" aria-hidden="true" max="${pictures}" value="${counts.succeeded + counts.failed}"></progress><span>${headlineOf(run)}</span></li>`
}

function day(time: string): string {
  return `${time.slice(0, 16).replace('T', ' ')} UTC`
}

function faultsOf({ message, faults, faultCount }: AppError): Html {
  const rows = faults.filter(({ row }) => row !== undefined)
  if (rows.length === 0)
    return html`<p class="form-error" role="alert">${warningIcon()}<span>${message}</span></p>`
  return html`<div class="form-error list-faults" role="alert"><p><b>${faultCount === 1 ? 'One fault' : `${faultCount} faults`}: nothing was started.</b></p>
<ul>${rows.map((fault) => html`<li>${fault.message}</li>`)}</ul>${faultCount > rows.length && html`<p>And ${faultCount - rows.length} more.</p>`}</div>`
}
