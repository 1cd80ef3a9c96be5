import type { ResolvedRequest } from '../../jobs/job.ts'
import type { ImageView, JobView } from '../../jobs/serving/job-view.ts'
import { againAddress } from './form-values.ts'
import { type Html, html } from './html.ts'
import { downloadIcon, stopIcon, warningIcon } from './icons.ts'
import type { Size } from './sizes.ts'

/**
 * The pictures of a job, or empty frames of the same size while they are being made: an empty SVG keeps
 * the shape of its view box, so that nothing jumps when the picture appears. (A style attribute would do the same,
 * but the content security policy forbids it.)
 */
export function pictures(view: JobView, usual: Size): Html {
  if (view.status !== 'succeeded') return emptyFrames(view, usual)
  const many = view.images.length > 1
  const figures = view.images.map((image, index) => figure(view, image, index, many))
  return html`<div class="frames frames-${Math.min(view.images.length, 4)}">${figures}</div>`
}

function figure(view: JobView, image: ImageView, index: number, many: boolean): Html {
  const { request } = view
  const prompt = request?.prompt ?? 'picture'
  const alt = many ? `${prompt} (picture ${index + 1})` : prompt
  return html`<figure class="frame">
<a class="frame-link" href="${image.url}" target="_blank" rel="noopener"><img src="${image.url}" width="${image.width}" height="${image.height}" alt="${alt}" decoding="async"><span class="visually-hidden"> (opens the picture on its own)</span></a>
${many && caption(view.id, request, image, index)}</figure>`
}

function caption(id: string, request: ResolvedRequest | undefined, image: ImageView, index: number): Html {
  const again =
    request !== undefined &&
    html`<a class="seed-link" href="${againAddress(id, request, image.seed, 1)}" data-fill title="Fill in the form with this seed">Seed ${image.seed}</a>`
  return html`<figcaption>${again}<a class="icon-link" href="${image.url}?download=1" download aria-label="Download picture ${index + 1}">${downloadIcon()}</a></figcaption>`
}

function emptyFrames(view: JobView, usual: Size): Html {
  const { width, height, count } = view.request ?? { ...usual, count: 1 }
  const frame = html`<div class="frame frame-empty"><svg viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" aria-hidden="true" focusable="false"></svg>${mark(view)}</div>`
  return html`<div class="frames frames-${Math.min(count, 4)}">${Array.from({ length: count }, () => frame)}</div>`
}

/** Marks an empty frame whose picture will not come. */
function mark({ status }: JobView): Html | false {
  if (status !== 'failed' && status !== 'canceled') return false
  return html`<span class="frame-mark">${status === 'failed' ? warningIcon() : stopIcon()}</span>`
}
