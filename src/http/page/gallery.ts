import type { ImageView, JobView } from '../../jobs/serving/job-view.ts'
import type { WorkspaceJob } from '../../jobs/serving/workspace.ts'
import { keptIdOf } from '../../jobs/stored-names.ts'
import { againAddress } from './form-values.ts'
import { type Html, html } from './html.ts'
import { againIcon, deleteIcon, downloadIcon, keepIcon, warningIcon } from './icons.ts'
import { duration } from './words.ts'

/** The page of all pictures of a workspace. */

export interface Filter {
  readonly words: string
  readonly model: string
  readonly liked: boolean
}

/** A picture, or a job whose pictures are gone. */
export type Tile =
  | { readonly job: WorkspaceJob; readonly view: JobView; readonly image: ImageView; readonly index: number }
  | { readonly job: WorkspaceJob; readonly missing: 'expired' | 'unavailable' }

export interface GalleryPage {
  readonly tiles: readonly Tile[]
  readonly filter: Filter
  /** Names of the models in the list. */
  readonly models: readonly string[]
  /** Where the list begins and continues: counts of jobs. */
  readonly after: number
  readonly next: number | undefined
  /** The list cannot be read now. */
  readonly away: boolean
  /** Ids of what the caller keeps for good, and how many it may keep; absent: it may not, or they cannot be read. */
  readonly kept?: { readonly ids: ReadonlySet<string>; readonly limit: number }
  /** What was just done. */
  readonly note?: string
}

export function galleryPage(page: GalleryPage): Html {
  const { tiles, filter, models, away, kept, note } = page
  const filtered = filter.words !== '' || filter.model !== '' || filter.liked
  const some = tiles.length > 0
  return html`<div class="room gallery">
<div class="room-head"><h1>Pictures</h1>${filterForm(filter, models)}</div>
${kept !== undefined && (kept.limit > 0 || kept.ids.size > 0) && html`<p class="gallery-kept"><a href="/pictures/kept">Kept for good</a>: ${keptCount(kept.ids.size, kept.limit)}</p>`}
${note !== undefined && html`<p class="room-note" role="status">${note}</p>`}
${away && html`<p class="room-note" role="status">${warningIcon()}<span>The list of your pictures cannot be read at the moment. Nothing is lost but the list.</span></p>`}
${!away && !some && html`<p class="room-empty">${filtered ? html`None of your pictures is like that. <a href="/pictures">Show all</a>` : html`Here is what you make: each picture until it is deleted, and a line of it afterwards. <a href="/">To the studio</a>`}</p>`}
${some && tileForm(page)}
${readBackForm()}
</div>`
}

/** "12 of 200". */
export function keptCount(count: number, limit: number): string {
  return `${count} of ${limit} ${limit === 1 ? 'picture' : 'pictures'}`
}

function filterForm({ words, model, liked }: Filter, models: readonly string[]): Html {
  return html`<form class="gallery-filter" method="get" action="/pictures" role="search" aria-label="Pictures">
<label><span>Words</span><input type="search" name="words" value="${words}" maxlength="200"></label>
${models.length > 1 && html`<label><span>Model</span><select name="model"><option value="">any</option>${models.map((name) => html`<option value="${name}"${name === model && html` selected`}>${name}</option>`)}</select></label>`}
<label class="gallery-liked"><input type="checkbox" name="liked" value="1"${liked && html` checked`}><span>Favourites only</span></label>
<button class="btn tonal" type="submit">Show</button></form>`
}

function tileForm({ tiles, filter, after, next, kept }: GalleryPage): Html {
  // lines of what is gone cannot be chosen
  const some = tiles.some((tile) => 'image' in tile)
  const older =
    next !== undefined && html`<a class="btn outlined" href="${pageAddress(filter, next)}">Older pictures</a>`
  const newest = after > 0 && html`<a class="btn text" href="${pageAddress(filter, 0)}">Newest pictures</a>`
  return html`<form method="post" action="/pictures/zip" class="gallery-form">
<input type="hidden" name="back" value="${pageAddress(filter, after)}">
${some && html`<div class="gallery-bar"><button class="btn tonal js-only" type="button" data-all="picture:">Choose all</button><button class="btn outlined" type="submit" formaction="/pictures/zip">${downloadIcon()}<span>Download as ZIP</span></button>${kept !== undefined && kept.limit > 0 && html`<button class="btn outlined" type="submit" formaction="/pictures/keep">${keepIcon()}<span>Keep for good</span></button>`}<button class="btn outlined" type="submit" formaction="/pictures/delete">${deleteIcon()}<span>Delete</span></button></div>`}
<ul class="tiles">${tiles.map((tile) => tileOf(tile, kept?.ids))}</ul>
<div class="gallery-more">${newest}${older}</div>
</form>`
}

export function pageAddress({ words, model, liked }: Filter, after: number): string {
  const query = new URLSearchParams({
    ...(words === '' ? {} : { words }),
    ...(model === '' ? {} : { model }),
    ...(liked ? { liked: '1' } : {}),
    ...(after === 0 ? {} : { after: String(after) }),
  })
  return query.size === 0 ? '/pictures' : `/pictures?${query}`
}

function tileOf(tile: Tile, kept: ReadonlySet<string> | undefined): Html {
  return 'image' in tile ? pictureTile(tile, kept) : goneTile(tile)
}

/** A picture with its box to choose it, its heart and the time that is left to it. */
export function pictureTile(
  { job, view, image, index }: Extract<Tile, { image: ImageView }>,
  kept?: ReadonlySet<string>,
): Html {
  const key = `${job.id}.${index}`
  const title = view.request?.prompt ?? job.title
  const name = view.images.length > 1 ? `${title} (picture ${index + 1})` : title
  const liked = job.liked?.includes(index) === true
  const seconds = (Date.parse(view.expires_at) - Date.now()) / 1000
  const goes = seconds > 0 ? `goes in ${duration(seconds)}` : 'goes now'
  const stays = kept?.has(keptIdOf(job.id, index)) === true
  return html`<li class="tile" id="tile-${job.id}-${index}">
<a class="tile-picture" href="/jobs/${job.id}"><img src="${image.url}/thumbnail" alt="${name}" width="${image.width}" height="${image.height}" loading="lazy" decoding="async"></a>
<label class="tile-choose"><input type="checkbox" name="picture:${key}" value="1" aria-label="Choose: ${name}"></label>
<button class="tile-like" type="submit" name="like" value="${key}" formaction="/pictures/like" hx-post="/pictures/like" hx-target="closest li" hx-swap="outerHTML" id="like-${job.id}-${index}" aria-pressed="${String(liked)}" aria-label="Favourite: ${name}">${heart()}</button>
<p class="tile-words"><span dir="auto">${title}</span><span class="tile-expiry">${stays ? html`<strong>kept for good</strong>` : goes}</span></p>
</li>`
}

function goneTile({ job, missing }: Extract<Tile, { missing: unknown }>): Html {
  const { id, title, request, expires_at } = job
  const words =
    missing === 'expired' ? html`deleted on ${expires_at.slice(0, 10)}` : html`cannot be shown now`
  return html`<li class="tile is-gone"><p class="tile-words"><span dir="auto">${title}</span><span>${words}</span></p>
<p class="tile-actions">${request !== undefined && html`<a class="btn tonal" href="${againAddress(id, request, request.seed, request.count)}">${againIcon()}<span>Make it again</span></a>`}<button class="btn text" type="submit" name="forget" value="${id}" formaction="/pictures/forget" aria-label="Remove from the list: ${title}">Remove</button></p></li>`
}

function heart(): Html {
  return html`<svg class="icon" viewBox="0 0 24 24" width="20" height="20" stroke="currentColor" stroke-width="1.75" stroke-linejoin="round" aria-hidden="true" focusable="false"><path d="M12 19.5 4.9 12.4a4.6 4.6 0 0 1 6.5-6.5l.6.6.6-.6a4.6 4.6 0 0 1 6.5 6.5z"/></svg>`
}

/** Asked before pictures are deleted. */
export function deleteQuestion(titles: readonly string[], keys: readonly string[], back: string): Html {
  const count = keys.length === 1 ? 'this picture' : `these ${keys.length} pictures`
  return html`<div class="single">
<h1>Delete ${count} for good?</h1>
<ul class="delete-list">${titles.map((title) => html`<li dir="auto">${title}</li>`)}</ul>
<p>A picture that was made together with others leaves this list now; its file goes with the last of them, or when its time is over. What is kept for good stays.</p>
<form method="post" action="/pictures/delete" class="run-buttons">${keys.map((key) => html`<input type="hidden" name="picture:${key}" value="1">`)}<input type="hidden" name="back" value="${back}"><input type="hidden" name="sure" value="1"><button class="btn filled" type="submit">${deleteIcon()}<span>Delete</span></button><a class="btn text" href="${back}">Keep</a></form>
</div>`
}

/** A picture whose settings are read back into the form. Works without JavaScript; rooms.js sends what is dropped on the page. */
function readBackForm(): Html {
  return html`<form class="read-back" id="read-back" method="post" action="/pictures/settings" enctype="multipart/form-data">
<h2>Settings from a picture</h2>
<p id="read-back-help">A PNG, JPEG or WebP that was made here or by the AUTOMATIC1111 web UI carries its settings: choose it, or drop it on this page, and the form is filled in with them. The picture is not kept.</p>
<p class="read-back-file"><label for="read-back-picture">Picture</label><input type="file" id="read-back-picture" name="picture" accept="image/png,image/jpeg,image/webp" required aria-describedby="read-back-help"><button class="btn tonal" type="submit">Read its settings</button></p>
</form>`
}
