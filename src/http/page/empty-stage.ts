import type { ModelInfo } from '../../jobs/offer.ts'
import type { AssetName, Assets } from './assets.ts'
import { type Html, html } from './html.ts'
import { stillLife } from './still-life.ts'

/** Pictures that the built-in model made of these words, as they are. Another model that has the words shows its own only. */
const taken: readonly { readonly model: string; readonly prompt: string; readonly file: AssetName }[] = [
  { model: 'packshot-mini', prompt: 'a pineapple on a yellow background', file: 'pineapple.webp' },
  { model: 'packshot-mini', prompt: 'an avocado on a pink background', file: 'avocado.webp' },
  { model: 'packshot-mini', prompt: 'a kiwi on a purple background', file: 'kiwi.webp' },
]

export interface EmptyStage {
  readonly assets: Assets
  readonly catalogues?: boolean
  /** It replaces the one of the page, since another model was chosen. */
  readonly isNew?: boolean
}

/** Shown on the stage until there is a job: what this is, what the chosen model can draw, and pictures of it to press. */
export function emptyStage(model: ModelInfo, { assets, catalogues, isNew }: EmptyStage): Html {
  const { name, description, subjects } = model
  const samples = taken.filter((each) => each.model === name && model.examples?.includes(each.prompt))
  const catalogue = catalogues === true && html` Or <a href="/catalogues">a whole catalogue</a> from a list.`
  return html`<div class="stage-empty" id="stage-empty"${isNew === true && html` hx-swap-oob="true"`}>
${samples.length > 0 ? html`<div class="samples">${samples.map((each) => sample(each.prompt, assets.url(each.file), name))}</div>` : html`<div class="empty-set">${stillLife()}</div>`}
<p class="empty-title">Studio photos, from words</p>
<p class="empty-words">Name a product. Packshot sets the light, puts it on a clean backdrop and takes the picture.${catalogue}</p>
<p class="empty-about" id="wall-about"${description === undefined && html` hidden`}><b>${name}</b> ${subjects === undefined ? description : knows(subjects.length)}</p>
</div>`
}

/** A model that lists what it draws is asked for the rest of the world in vain. */
function knows(subjects: number): Html {
  return html`draws ${subjects} products, and nothing else. For your own, start from a photo, or add a checkpoint: <code>npm run models -- add FILE</code>`
}

/** One press fills in its words and takes such a picture. */
function sample(prompt: string, address: string, model: string): Html {
  return html`<form class="sample" method="post" action="/jobs" data-send data-words="${prompt}"><input type="hidden" name="prompt" value="${prompt}"><input type="hidden" name="model" value="${model}"><button type="submit"><img src="${address}" width="256" height="256" alt=""><span>${prompt}</span></button></form>`
}
