import type { FastifyReply, FastifyRequest } from 'fastify'
import { AppError } from '../../../jobs/errors.ts'
import { isFinal, type JobView } from '../../../jobs/serving/job-view.ts'
import type { Services } from '../../services.ts'
import { httpStatus } from '../../status.ts'
import { type EventStream, openEvents } from '../event-stream.ts'
import { faultOf } from '../faults.ts'
import { endOf, nameJobs } from '../held.ts'
import { bytesOf } from '../pictures.ts'
import { completedOf, errorOf, partialOf, type StreamName } from './answers.ts'
import { openAiNames } from './request.ts'

/**
 * The jobs of a call as events: partial pictures, then one `completed` for each picture. A client that leaves a stream
 * wants no more of it (its library has no other way to cancel), so the jobs are canceled; not if it is this server that
 * ends the connection because it stops.
 */
export async function stream(
  services: Services,
  request: FastifyRequest,
  reply: FastifyReply,
  { views, name }: { readonly views: readonly JobView[]; readonly name: StreamName },
): Promise<void> {
  nameJobs(reply, views)
  const { caller } = request
  const gone = new AbortController()
  const leave = () => gone.abort()
  reply.raw.once('close', leave)
  const [first] = views
  const firstStates =
    first === undefined ? undefined : services.follow(first.id, caller, { signal: gone.signal })
  // what this rejects with is an answer like any other, after which the client's library repeats the call
  const began = await firstStates?.next()
  const events = openEvents(reply)
  events.gone.addEventListener('abort', leave)
  try {
    for (const view of views) {
      const states = view === first ? firstStates : services.follow(view.id, caller, { signal: gone.signal })
      if (states === undefined) continue
      await streamJob(services, request, events, {
        view: view === first ? (began?.value ?? view) : view,
        states,
        name,
      })
    }
  } catch (thrown) {
    if (!events.gone.aborted) {
      const error = faultOf(thrown, request, { names: openAiNames })
      await events.send({ type: 'error', ...errorOf(error, httpStatus(error)) }, 'error')
    }
  } finally {
    if (gone.signal.aborted && services.ready()) {
      await Promise.allSettled(views.map(({ id }) => services.cancel(id, caller)))
    }
    events.end()
  }
}

interface StreamedJob {
  readonly view: JobView
  /** Those after `view`. */
  readonly states: AsyncIterable<JobView>
  readonly name: StreamName
}

async function streamJob(
  services: Services,
  request: FastifyRequest,
  events: EventStream,
  { view, states, name }: StreamedJob,
): Promise<void> {
  const { caller } = request
  let last = view
  let shown = 0
  for await (const now of states) {
    last = now
    // the newest one: a client that reads slowly misses those before it
    if (now.preview === undefined || now.preview.index <= shown) continue
    const preview = await services.preview(view.id, caller)
    if (preview === undefined || preview.index <= shown) continue
    shown = preview.index
    await events.send(partialOf(name, now, preview.bytes, shown - 1), `${name}.partial_image`)
  }
  if (events.gone.aborted) return
  if (!isFinal(last)) {
    throw new AppError('unavailable', `This server cannot wait for job ${last.id}. It continues.`)
  }
  if (last.status !== 'succeeded') throw endOf(last)
  for (const index of last.images.keys()) {
    const picture = await bytesOf(services, last, index, caller)
    await events.send(completedOf(name, last, picture), `${name}.completed`)
  }
}
