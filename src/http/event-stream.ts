import { Readable } from 'node:stream'
import { clientMessage, toAppError } from '../jobs/errors.ts'
import { isFinal, type JobView } from '../jobs/serving/job-view.ts'
import type { ErrorBody } from './faults.ts'

/**
 * A followed job as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html). A client that
 * does not read holds one event in memory: the next one is made of the newest state when it reads on.
 */

export const eventStreamType = 'text/event-stream'

/** The id of the last event. A browser that reconnects sends it: there is nothing more to come then. */
export const lastEventId = 'done'

/** Proxies close connections that are silent for longer, most of them after 60 seconds. */
const pingMs = 15_000
/** Between these a browser reconnects, so that those of a server that stops do not come to another at once. */
const [leastRetryMs, mostRetryMs] = [1000, 4000]

/** The texts of each view, made once for all who follow it. */
export type EventTexts = (before: JobView | undefined, view: JobView) => string

export function eventTexts(): EventTexts {
  const made = new WeakMap<JobView, Map<string, string>>()
  return (before, view) => {
    const known = made.get(view) ?? new Map<string, string>()
    made.set(view, known)
    const text = (event: string, data: () => unknown) => {
      const line = known.get(event) ?? `event: ${event}\ndata: ${JSON.stringify(data())}\n\n`
      known.set(event, line)
      return line
    }
    const { status, position, progress, preview, eta_seconds } = view
    if (isFinal(view)) return `id: ${lastEventId}\n${text('done', () => view)}`
    const whole = before === undefined || before.status !== status || before.position !== position
    let sent = whole ? text('status', () => view) : ''
    if (progress !== undefined && progress.step !== before?.progress?.step) {
      sent += text('progress', () => ({ ...progress, ...(eta_seconds !== undefined && { eta_seconds }) }))
    }
    if (preview !== undefined && preview.index !== before?.preview?.index)
      sent += text('preview', () => preview)
    return sent
  }
}

/**
 * @param first what `views` began with
 * @param leave called when nothing more is wanted of them
 */
export function eventStream(
  first: JobView,
  views: AsyncGenerator<JobView, void, undefined>,
  { texts, leave }: { readonly texts: EventTexts; readonly leave: () => void },
): Readable {
  let shown: JobView | undefined
  let reading = false
  /** Whether there was anything to send. */
  const show = (view: JobView, head = '') => {
    const text = head + texts(shown, view)
    shown = view
    pinging.refresh()
    if (text !== '') stream.push(text)
    if (isFinal(view)) stream.push(null)
    return text !== ''
  }
  const next = async () => {
    try {
      for (;;) {
        const { value, done } = await views.next()
        reading = false
        if (stream.destroyed) return
        if (done === true) break
        if (show(value)) return
      }
      stream.push(': the server stops\n\n')
    } catch (thrown) {
      reading = false
      if (stream.destroyed) return
      const { code, message } = toAppError(thrown)
      const body: ErrorBody = { error: { code, message: clientMessage({ code, message }) } }
      stream.push(`event: gone\ndata: ${JSON.stringify(body)}\n\n`)
    }
    stream.push(null)
  }
  const stream = new Readable({
    highWaterMark: 1,
    read() {
      if (shown === undefined) show(first, `retry: ${retryMs()}\n`)
      else if (!reading) {
        reading = true
        void next()
      }
    },
    destroy(error, done) {
      clearInterval(pinging)
      leave()
      void views.return().finally(() => done(error))
    },
  })
  const pinging = setInterval(() => {
    if (stream.readableLength === 0 && !stream.readableEnded) stream.push(': ping\n\n')
  }, pingMs)
  return stream
}

function retryMs(): number {
  return Math.round(leastRetryMs + Math.random() * (mostRetryMs - leastRetryMs))
}
