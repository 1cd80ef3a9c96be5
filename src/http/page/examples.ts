import type { ModelInfo } from '../../jobs/offer.ts'
import { type Html, html } from './html.ts'

/** For a model without examples: what any model knows. */
const anyModel = [
  'a red apple',
  'a green wine bottle',
  'a pink doughnut',
  'a yellow mug on a blue background',
]

/**
 * Prompts to start with, as links that fill them in.
 * @param model the chosen model, which the links then choose too; empty for the default
 */
export function examples({ examples = anyModel }: ModelInfo, model: string): Html {
  const link = (prompt: string) => {
    const query = new URLSearchParams(model === '' ? { prompt } : { prompt, model })
    return html`<a class="example" href="/?${query.toString()}" dir="auto" data-fill>${prompt}</a> `
  }
  const half = Math.ceil(examples.length / 2)
  const rows = [examples.slice(0, half), examples.slice(half)]
  return html`<div class="examples" role="group" aria-label="Examples"><span class="examples-label" aria-hidden="true">Try</span><div class="examples-rows">${rows.map((row) => html`<div class="examples-row">${row.map(link)}</div>`)}</div></div>`
}
