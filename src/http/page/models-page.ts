import { type AddOn, type ModelInfo, namesFor, type Offer, whyNot } from '../../jobs/offer.ts'
import { type Html, html } from './html.ts'
import { warningIcon } from './icons.ts'

/** What an installation has: what `npm run models -- list` prints, for people. Nothing is changed from here. */
export function modelsPage(offer: Offer): Html {
  const { models, unusable = [], vaes, loras, embeddings } = offer
  const [first] = models
  return html`<div class="room">
<div class="room-head"><h1>Models</h1></div>
<ul class="models">${models.map((model) => modelCard(offer, model, model === first))}</ul>
${addOns(offer, 'LoRAs', loras)}${addOns(offer, 'Embeddings', embeddings)}${addOns(offer, 'VAEs', vaes)}
${
  unusable.length > 0 &&
  html`<section class="models-part"><h2>Cannot be used</h2><ul class="models-list">${unusable.map(({ name, problem }) => html`<li>${warningIcon()}<b>${name}</b> <span>${problem}</span></li>`)}</ul></section>`
}
<section class="models-part"><h2>Add a model</h2>
<p>On the server, with a file or an address; it is offered here within seconds:</p>
<pre tabindex="0" role="region" aria-label="Commands"><code>npm run models -- add ./my-model.safetensors
npm run models -- add https://huggingface.co/OWNER/NAME
npm run models -- list</code></pre>
<p>It takes Stable Diffusion 1.x checkpoints, VAEs, LoRAs and embeddings as <code>.safetensors</code> files or in diffusers' folders.</p></section>
</div>`
}

function modelCard(offer: Offer, model: ModelInfo, isDefault: boolean): Html {
  const { name, description, width, height, steps, guidance_scale: guidance, parameters, family } = model
  const [sampler] = offer.samplers.of(model)
  const rows: [string, string | number | undefined][] = [
    ['Family', family],
    ['Draws', `${width} × ${height}`],
    ['Steps', steps],
    ['Guidance', guidance],
    ['Sampler', sampler?.label],
    ['Size', parameters === undefined ? undefined : millions(parameters)],
    ['Starts from a photo', model.inpainting ? 'always: it fills in' : model.image_to_image ? 'yes' : 'no'],
    ['VAE', model.needs_vae === true ? (model.default_vae ?? 'none of its own') : undefined],
    ['Subjects', model.subjects === undefined ? undefined : model.subjects.length],
  ]
  const shown = rows.filter(([, value]) => value !== undefined)
  return html`<li class="card model"><h2>${name}${isDefault && html` <span class="model-default">default</span>`}</h2>
${description !== undefined && html`<p>${description}</p>`}
<dl class="facts">${shown.map(([label, value]) => html`<div><dt>${label}</dt><dd>${value}</dd></div>`)}</dl>
<p><a class="btn tonal" href="/?${new URLSearchParams({ model: name }).toString()}" >Use ${name}</a></p></li>`
}

function millions(parameters: number): string {
  const count = parameters / 1e6
  return `${count < 10 ? count.toFixed(1) : Math.round(count)} million weights`
}

function addOns(offer: Offer, title: string, all: readonly AddOn[]): Html | false {
  if (all.length === 0) return false
  return html`<section class="models-part"><h2>${title}</h2><ul class="models-list">${all.map((addOn) => addOnLine(offer, addOn))}</ul></section>`
}

function addOnLine({ models }: Offer, addOn: AddOn): Html {
  const fitting = models.filter((model) => namesFor(model, [addOn]).length > 0).map(({ name }) => name)
  if (fitting.length > 0)
    return html`<li><b>${addOn.name}</b> <span>${addOn.description ?? ''} for ${fitting.join(', ')}</span></li>`
  const [first] = models
  const reason = first === undefined ? addOn.problem : whyNot(addOn, first)
  return html`<li>${warningIcon()}<b>${addOn.name}</b> <span>${reason ?? 'fits no model here'}</span></li>`
}
