import { emptyStage } from './empty-stage.ts'
import { chosenModel, type FormState, type PageOffer, requestForm } from './form.ts'
import { type Html, html } from './html.ts'
import { clearForm } from './workspace-wall.ts'

/**
 * The studio: the panel with the form, and the stage with the pictures of this visitor.
 * @param wall the cards of the visitor's jobs, as far as the server knows them
 */
export function home(offer: PageOffer, state: FormState, wall?: Html): Html {
  return html`<h1 class="visually-hidden">Studio</h1>
<div class="workbench">
<section class="panel" aria-label="New picture">${requestForm(offer, state)}</section>
<section class="stage" aria-labelledby="wall-title">
<h2 id="wall-title" class="visually-hidden">Your pictures</h2>
<div id="jobs" class="jobs">${wall}</div>
${emptyStage(chosenModel(offer, state.values), offer)}
<div class="film-bar js-only" id="film-bar" hidden>
<ol class="film" id="film" aria-label="Your pictures"></ol>
${clearForm()}
</div>
</section>
</div>`
}

/** The form for another model, and the words about that model on the empty stage. */
export function renewedForm(offer: PageOffer, state: FormState): Html {
  const model = chosenModel(offer, state.values)
  return html`${requestForm(offer, state)}${emptyStage(model, { ...offer, isNew: true })}`
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
