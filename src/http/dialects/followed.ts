import type { FastifyReply } from 'fastify'
import { isFinal, type JobView } from '../../jobs/serving/job-view.ts'
import { openEvents } from './event-stream.ts'

interface StreamEvent {
  /** Absent: it has no name. */
  readonly event?: string
  readonly data: object | string
}

export interface Followed {
  /** The states of a job, until the signal aborts. */
  readonly follow: (signal: AbortSignal) => AsyncGenerator<JobView, void, undefined>
  readonly eventsOf: (view: JobView) => readonly StreamEvent[]
  /** When the job can no longer be followed: it was deleted, or this server stops. */
  readonly broken: (last: JobView) => readonly StreamEvent[]
}

/**
 * Answers with server-sent events, some for each state of a job, until it is final or the client leaves. What the first
 * state rejects with is thrown, and becomes an answer like any other.
 */
export async function streamFollowed(reply: FastifyReply, followed: Followed): Promise<FastifyReply> {
  const gone = new AbortController()
  const leave = () => gone.abort()
  reply.raw.once('close', leave)
  const views = followed.follow(gone.signal)
  const { value: first } = await views.next()
  const events = openEvents(reply)
  events.gone.addEventListener('abort', leave)
  const sendAll = async (list: readonly StreamEvent[]) => {
    for (const { data, event } of list) await events.send(data, event)
  }
  let last = first
  try {
    while (last !== undefined) {
      await sendAll(followed.eventsOf(last))
      const { value } = await views.next()
      if (value === undefined) break
      last = value
    }
    if (last !== undefined && !isFinal(last)) await sendAll(followed.broken(last))
  } catch (thrown) {
    reply.log.debug({ err: thrown }, 'a job can no longer be followed')
    if (last !== undefined) await sendAll(followed.broken(last))
  } finally {
    await views.return()
    events.end()
  }
  return reply
}
