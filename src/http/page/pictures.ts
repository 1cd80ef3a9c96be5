import type { ImageView, JobView } from '../../jobs/serving/job-view.ts'
import { type Html, html } from './html.ts'
import { stopIcon, warningIcon } from './icons.ts'
import type { Size } from './sizes.ts'

/**
 * The pictures of a job, or lit paper of the same shape while they are being made. Paper and picture both fill their frame
 * as far as their shape allows: a picture that is smaller than its frame is enlarged. An SVG keeps the shape of its view box,
 * so that nothing jumps when the picture comes. (A style attribute would do the same, but the content security policy
 * forbids it.)
 */
export function pictures(view: JobView, usual: Size): Html {
  if (view.status !== 'succeeded') return emptyFrames(view, usual)
  const many = view.images.length > 1
  const figures = view.images.map((image, index) => figure(view, image, index, many))
  return html`<div class="frames frames-${Math.min(view.images.length, 4)}">${figures}</div>`
}

function figure(view: JobView, image: ImageView, index: number, many: boolean): Html {
  const prompt = view.request?.prompt ?? 'picture'
  const alt = many ? `${prompt} (picture ${index + 1})` : prompt
  return html`<figure class="frame" data-index="${index}">
${paper(image)}
<a class="frame-link" href="${image.url}" target="_blank" rel="noopener"><img src="${image.url}" width="${image.width}" height="${image.height}" alt="${alt}" decoding="async" loading="lazy"><span class="visually-hidden"> (opens the picture on its own)</span></a>
</figure>`
}

/** Inset by half a pixel of its own, so that no rim of it shows beside the picture. */
function paper({ width, height }: Size): Html {
  return html`<svg class="frame-paper" viewBox="0 0 ${width} ${height}" aria-hidden="true" focusable="false"><rect width="${width}" height="${height}"/></svg>`
}

function emptyFrames(view: JobView, usual: Size): Html {
  const { width, height, count } = view.request ?? { ...usual, count: 1 }
  const frames = Array.from(
    { length: count },
    (_, index) =>
      html`<div class="frame frame-empty">${paper({ width, height })}${index === 0 && preview(view)}${mark(view)}</div>`,
  )
  return html`<div class="frames frames-${Math.min(count, 4)}">${frames}</div>`
}

/** The newest look at the first picture; live.js replaces it. */
function preview({ status, preview: newest }: JobView): Html | false {
  if (status !== 'running') return false
  return html`<img class="frame-preview" alt=""${newest === undefined ? html` hidden` : html` src="${newest.url}"`}>`
}

/** Marks an empty frame whose picture will not come. */
function mark({ status }: JobView): Html | false {
  if (status !== 'failed' && status !== 'canceled') return false
  return html`<span class="frame-mark">${status === 'failed' ? warningIcon() : stopIcon()}</span>`
}
