import type { ModelInfo } from '../../jobs/offer.ts'
import { type Html, html } from './html.ts'
import { stillLife } from './still-life.ts'

/** Shown on the stage until there is a job: what this is, and what the chosen model can draw. */
export function emptyStage(
  { name, description }: ModelInfo,
  { catalogues = false, isNew = false }: { readonly catalogues?: boolean; readonly isNew?: boolean } = {},
): Html {
  return html`<div class="stage-empty" id="stage-empty"${isNew && html` hx-swap-oob="true"`}>
<div class="empty-set">${stillLife()}</div>
<p class="empty-title">Studio photos, from words</p>
<p class="empty-words">Name a product. Packshot sets the light, puts it on a clean backdrop and takes the picture.${catalogues && html` Or <a href="/catalogues">a whole catalogue</a> from a list.`}</p>
<p class="empty-about" id="wall-about"${description === undefined && html` hidden`}><b>${name}</b> ${description}</p>
</div>`
}
