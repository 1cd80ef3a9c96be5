import type { KeptView } from '../../jobs/serving/kept.ts'
import { againAddress } from './form-values.ts'
import { keptCount } from './gallery.ts'
import { type Html, html } from './html.ts'
import { againIcon, deleteIcon, downloadIcon } from './icons.ts'

/** The page of the pictures that are kept for good. */

interface KeptRoom {
  readonly kept: readonly KeptView[]
  readonly count: number
  readonly limit: number
  /** Where the list begins and continues; absent: at its begin, not at all. */
  readonly after?: string | undefined
  readonly next?: string | undefined
  /** What was just done. */
  readonly note?: string | undefined
}

export function keptRoom({ kept, count, limit, after, next, note }: KeptRoom): Html {
  const some = kept.length > 0
  const older =
    next !== undefined && html`<a class="btn outlined" href="/pictures/kept?after=${next}">Older pictures</a>`
  const newest = after !== undefined && html`<a class="btn text" href="/pictures/kept">Newest pictures</a>`
  return html`<div class="room gallery">
<div class="room-head"><h1>Kept for good</h1></div>
<p class="gallery-kept">${keptCount(count, limit)}. <a href="/pictures">All pictures</a></p>
${note !== undefined && html`<p class="room-note" role="status">${note}</p>`}
${!some && html`<p class="room-empty">Pictures stay here until you delete them: choose some among <a href="/pictures">all pictures</a>, and keep them for good.</p>`}
${
  some &&
  html`<form method="post" action="/pictures/kept/zip" class="gallery-form">
<div class="gallery-bar"><button class="btn tonal js-only" type="button" data-all="kept:">Choose all</button><button class="btn outlined" type="submit" formaction="/pictures/kept/zip">${downloadIcon()}<span>Download as ZIP</span></button><button class="btn outlined" type="submit" formaction="/pictures/kept/delete">${deleteIcon()}<span>Delete</span></button></div>
<ul class="tiles">${kept.map(keptTile)}</ul>
<div class="gallery-more">${newest}${older}</div>
</form>`
}
</div>`
}

function keptTile(view: KeptView): Html {
  const { id, job, url, width, height, request, seed, kept_at } = view
  const title = titleOf(view)
  const again =
    request !== undefined &&
    html`<a class="btn text" href="${againAddress(job, request, seed, 1)}" aria-label="Make it again: ${title}">${againIcon()}<span>Make it again</span></a>`
  return html`<li class="tile" id="kept-${id}">
<a class="tile-picture" href="${url}"><img src="/v1/kept/${id}/thumbnail" alt="${title}" width="${width}" height="${height}" loading="lazy" decoding="async"></a>
<label class="tile-choose"><input type="checkbox" name="kept:${id}" value="1" aria-label="Choose: ${title}"></label>
<p class="tile-words"><span dir="auto">${title}</span><span>kept since ${kept_at.slice(0, 10)}</span></p>
<p class="tile-actions"><a class="btn text" href="${url}?download=1" aria-label="Download: ${title}">${downloadIcon()}<span>Download</span></a>${again}</p>
</li>`
}

function titleOf({ request }: KeptView): string {
  return [...(request?.prompt ?? 'A picture')].slice(0, 160).join('')
}

/** Asked before kept pictures are deleted. */
export function forgetQuestion(kept: readonly KeptView[]): Html {
  const count = kept.length === 1 ? 'this picture' : `these ${kept.length} pictures`
  return html`<div class="single">
<h1>Delete ${count} that you kept?</h1>
<ul class="delete-list">${kept.map((each) => html`<li dir="auto">${titleOf(each)}</li>`)}</ul>
<p>They cannot be brought back.</p>
<form method="post" action="/pictures/kept/delete" class="run-buttons">${kept.map(({ id }) => html`<input type="hidden" name="kept:${id}" value="1">`)}<input type="hidden" name="sure" value="1"><button class="btn filled" type="submit">${deleteIcon()}<span>Delete</span></button><a class="btn text" href="/pictures/kept">Keep</a></form>
</div>`
}
