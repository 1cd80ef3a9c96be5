import type { Assets } from './assets.ts'
import { type EmptyStage, emptyStage } from './empty-stage.ts'
import { chosenModel, type FormState, type PageOffer, requestForm } from './form.ts'
import { type Html, html } from './html.ts'
import { photoStage } from './photo.ts'
import { clearForm } from './workspace-wall.ts'

interface HomeParts {
  readonly assets: Assets
  /** The cards of the visitor's jobs, as far as the server knows them. */
  readonly wall?: Html | undefined
}

/** The studio: the panel with the form, and the stage with the pictures of this visitor. */
export function home(offer: PageOffer, state: FormState, { assets, wall }: HomeParts): Html {
  return html`<h1 class="visually-hidden">Studio</h1>
<div class="workbench">
<section class="panel" aria-label="New picture">${requestForm(offer, state)}</section>
<section class="stage" aria-labelledby="wall-title">
<h2 id="wall-title" class="visually-hidden">Your pictures</h2>
${photoStage()}
<div id="jobs" class="jobs">${wall}</div>
${emptyStage(chosenModel(offer, state.values), emptyOf(offer, assets))}
<div class="film-bar js-only" id="film-bar" hidden>
<ol class="film" id="film" aria-label="Your pictures"></ol>
${clearForm()}
</div>
</section>
</div>`
}

/** The form for another model, and the words about that model on the empty stage. */
export function renewedForm(offer: PageOffer, state: FormState, assets: Assets): Html {
  const model = chosenModel(offer, state.values)
  return html`${requestForm(offer, state)}${emptyStage(model, { ...emptyOf(offer, assets), isNew: true })}`
}

function emptyOf({ catalogues = false }: PageOffer, assets: Assets): EmptyStage {
  return { assets, catalogues }
}

/** The page of one job at its own URL; a visitor without JavaScript also waits on it. */
export function jobPage(card: Html, waiting: boolean): Html {
  return html`<div class="single">
<h1 class="visually-hidden">${waiting ? 'Your picture is on its way' : 'Your picture'}</h1>
${waiting && html`<noscript><p class="single-note">This page reloads automatically.</p></noscript>`}
<h2 class="visually-hidden">Your request</h2>
${card}
<p class="single-more"><a class="btn outlined" href="/">Take another picture</a></p>
</div>`
}
