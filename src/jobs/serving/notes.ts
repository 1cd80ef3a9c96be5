import type { ResolvedRequest } from '../job.ts'
import { type ModelInfo, type Offer, whyNot } from '../offer.ts'
import { tagsIn, withoutTags } from '../prompt-tags.ts'
import type { JobView } from './job-view.ts'

/**
 * Remarks on a request that was accepted all the same. Derived from the request and the current offer, and not
 * stored: a model that was removed no longer gives any.
 */
export function withNotes(view: JobView, offer: Offer): JobView {
  const { request, images, status } = view
  const notes = request === undefined ? [] : notesOn(request, offer)
  if (request !== undefined && status === 'succeeded' && images.length < request.count)
    notes.unshift(`It was stopped: ${images.length} of ${request.count} pictures are done.`)
  if (images.some(({ precision }) => precision === 'exact')) notes.push(drawnExactly)
  return notes.length === 0 ? view : { ...view, notes }
}

const drawnExactly = 'The pictures were drawn exactly: the processor that drew them gains nothing from int8.'

export function notesOn(request: ResolvedRequest, { models, embeddings }: Offer): string[] {
  const { prompt, negative_prompt, model: name } = request
  const model = models.find((each) => each.name === name)
  const notes = leftOut([prompt, negative_prompt])
  if (model === undefined) return notes
  const drawn = withoutTags(prompt)
  notes.push(...asWords(`${drawn} ${withoutTags(negative_prompt)}`, model, embeddings))
  const names = embeddings.filter((each) => whyNot(each, model) === undefined)
  if (model.words === undefined || knowsAny(drawn, model.words, names)) return notes
  return [...notes, knowsNone(model)]
}

const mostShown = 5

/** Tags that a prompt still has name nothing that is known here. */
function leftOut(prompts: readonly string[]): string[] {
  const tags = [...new Set(prompts.flatMap(tagsIn))]
  if (tags.length === 0) return []
  const shown = tags.slice(0, mostShown).map((tag) => (tag.length > 60 ? `${tag.slice(0, 60)}...` : tag))
  const more = tags.length > shown.length ? ` and ${tags.length - shown.length} more` : ''
  return [`This service does not know ${shown.join(', ')}${more}, which is left out of the picture.`]
}

/** Names of embeddings that the model cannot use. */
function asWords(text: string, model: ModelInfo, embeddings: Offer['embeddings']): string[] {
  const words = ` ${text.toLowerCase().split(between).join(' ')} `
  return embeddings.flatMap((each) => {
    const named = words.includes(` ${each.name.toLowerCase().split(between).join(' ')} `)
    const reason = named ? whyNot(each, model) : undefined
    return reason === undefined ? [] : [`The embedding ${each.name} ${reason}; its name counts as words.`]
  })
}

const weight = /:\s*[-+]?[.\d]+\s*\)/g
const withoutEdges = /[\p{L}\p{N}](?:.*[\p{L}\p{M}\p{N}])?/u
const between = /[^\p{L}\p{M}\p{N}]+/u

/** A word counts as a whole (`close-up`), and by its parts (`apple/pear`). */
function knowsAny(prompt: string, words: ReadonlySet<string>, names: Offer['embeddings']): boolean {
  const text = prompt.toLowerCase()
  if (names.some(({ name }) => text.includes(name.toLowerCase()))) return true
  return text
    .replace(weight, ' ')
    .split(/\s+/u)
    .flatMap((word) => [withoutEdges.exec(word)?.[0] ?? '', ...word.split(between)])
    .some((word) => words.has(word))
}

const mostSubjects = 8

function knowsNone({ name, subjects, description }: ModelInfo): string {
  const start = `${name} finds nothing to draw in these words.`
  if (subjects === undefined) return description === undefined ? start : `${start} ${description}`
  const rest = subjects.length - mostSubjects
  const shown = subjects.slice(0, mostSubjects).join(', ')
  return `${start} It draws: ${shown}${rest > 0 ? ` and ${rest} more` : ''}.`
}
