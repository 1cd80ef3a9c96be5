import { type Html, html } from './html.ts'

/** The rooms of the page, in the masthead. */

const rooms = {
  studio: { path: '/', label: 'Studio' },
  pictures: { path: '/pictures', label: 'Pictures' },
  catalogue: { path: '/catalogues', label: 'Catalogue' },
  models: { path: '/models', label: 'Models' },
} as const
export type Room = keyof typeof rooms

/** What the masthead of a page shows beside it. */
export interface Around {
  readonly room?: Room
  /** Absent: not known. */
  readonly busy?: { readonly running: number; readonly waiting: number }
  /** Whether there are catalogue runs here. */
  readonly catalogues?: boolean
}

export function navigation({ room, catalogues = true }: Around): Html {
  const links = Object.entries(rooms)
    .filter(([name]) => name !== 'catalogue' || catalogues)
    .map(
      ([name, { path, label }]) =>
        html`<li><a href="${path}"${name === room && html` aria-current="page"`}>${label}</a></li>`,
    )
  return html`<nav class="rooms" aria-label="Rooms"><ul>${links}</ul></nav>`
}

/** How much there is to do for everybody here; rooms.js asks for it again while somebody looks. */
export function busyNote(busy: Around['busy']): Html {
  const words = busy === undefined ? '' : `${busy.running} running, ${busy.waiting} waiting`
  return html`<p class="busy" id="busy" title="Jobs of everybody here" hx-get="/workspace/busy" hx-trigger="look" hx-swap="outerHTML">${words}</p>`
}
