import type { ResolvedRequest } from '../job.ts'
import { type ModelInfo, type Offer, whyNot } from '../offer.ts'
import type { JobView } from './job-view.ts'

/**
 * Remarks on a request that was accepted all the same. Derived from the request and the current offer, and not
 * stored: a model that was removed no longer gives any.
 */
export function withNotes(view: JobView, offer: Offer): JobView {
  const notes = view.request === undefined ? [] : notesOn(view.request, offer)
  return notes.length === 0 ? view : { ...view, notes }
}

export function notesOn({ prompt, model: name }: ResolvedRequest, { models, embeddings }: Offer): string[] {
  const model = models.find((each) => each.name === name)
  if (model?.words === undefined) return []
  const names = embeddings.filter((each) => whyNot(each, model) === undefined)
  return knowsAny(prompt, model.words, names) ? [] : [knowsNone(model)]
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
