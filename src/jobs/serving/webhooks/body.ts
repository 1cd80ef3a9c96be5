import { AppError } from '../../errors.ts'
import type { Webhook } from '../../job.ts'
import { longestBody } from '../../webhook.ts'
import type { JobView } from '../job-view.ts'
import type { WebhookForm } from './webhooks.ts'

/** Characters that are left of each prompt of a job whose body would be too long. */
const shortPrompt = 500

/** The text of a message about a job; prompts are shortened where it would be longer than a receiver has to take. */
export function jobBody(
  view: JobView,
  webhook: Webhook,
  forms: Readonly<Record<string, WebhookForm>>,
): string {
  const form = (webhook.form === undefined ? undefined : forms[webhook.form]) ?? ownForm
  const whole = JSON.stringify(form(view, webhook))
  return fits(whole) ? whole : JSON.stringify(form(withShortPrompts(view), webhook))
}

/** The text of any other message. Throws `internal` if it is too long: its maker sees to that. */
export function eventBody(type: string, at: Date, data: unknown): string {
  const text = JSON.stringify({ type, timestamp: at.toISOString(), data })
  if (!fits(text)) throw new AppError('internal', `The webhook ${type} has more than ${longestBody} bytes.`)
  return text
}

function fits(text: string): boolean {
  return Buffer.byteLength(text) < longestBody
}

/** How a final job ended. One that expired before a worker had it is shown as failed. */
export function outcomeOf({ status, error }: JobView): string {
  return error?.code === 'expired' ? 'expired' : status
}

const ownForm: WebhookForm = (view, { base }) => ({
  type: `job.${outcomeOf(view)}`,
  timestamp: view.finished_at ?? view.expires_at,
  data: withAbsoluteLinks(view, base),
})

function withAbsoluteLinks(view: JobView, base: string): JobView {
  return {
    ...view,
    images: view.images.map(({ url, link, ...image }) => ({ url: base + url, link: base + link, ...image })),
    links: { self: base + view.links.self },
  }
}

function withShortPrompts(view: JobView): JobView {
  if (view.request === undefined) return view
  const shorten = (text: string) =>
    text.length > shortPrompt ? `${text.slice(0, shortPrompt).toWellFormed()}...` : text
  const { prompt, negative_prompt, ...request } = view.request
  return {
    ...view,
    request: { ...request, prompt: shorten(prompt), negative_prompt: shorten(negative_prompt) },
  }
}
