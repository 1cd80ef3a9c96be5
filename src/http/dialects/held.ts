import type { FastifyReply, FastifyRequest } from 'fastify'
import { AppError, type ErrorCode, errorTable } from '../../jobs/errors.ts'
import { isFinal, type JobView } from '../../jobs/serving/job-view.ts'
import type { Services } from '../services.ts'
import { httpStatus } from '../status.ts'
import { isConnected } from '../transfers.ts'

/**
 * Calls that are answered when the pictures are ready: they are held open, and the job continues when the client leaves.
 */

/**
 * Node's fetch gives up 300 seconds after a request if no header has come, and a client that repeats then asks twice:
 * the default is below that.
 */
export const defaultHoldSeconds = 270

/** What reads `102 Processing` as it should; Python's requests takes it for the answer. */
const knowsProcessing = /^(openai\/js|node|@fal-ai|replicate-javascript|@huggingface)/i
const processingEveryMs = 25_000
/** After the hold: reading pictures from storage and sending them. */
const restMs = 120_000

/** The headers by which the job of a call is found again. */
export function nameJobs(reply: FastifyReply, views: readonly JobView[]): void {
  reply.header('x-job-id', views.map(({ id }) => id).join(', '))
}

/**
 * The jobs once all are final. Rejects `still_running` after `seconds`, with the job's address in `Location`, and
 * `unavailable` if waiting ends earlier, because the server stops or too many wait; a client that leaves ends it too.
 */
export async function held(
  services: Services,
  request: FastifyRequest,
  reply: FastifyReply,
  { views, seconds }: { readonly views: readonly JobView[]; readonly seconds: number },
): Promise<readonly JobView[]> {
  nameJobs(reply, views)
  const gone = new AbortController()
  reply.raw.once('close', () => gone.abort())
  const until = performance.now() + seconds * 1000
  const stop = keepOpen(request, reply, seconds)
  try {
    const latest = []
    for (const view of views) {
      latest.push(isFinal(view) ? view : await finalOf(services, request, { id: view.id, until, gone }))
    }
    return latest
  } catch (thrown) {
    const [first] = views
    if (first !== undefined) reply.header('location', first.links.self)
    throw thrown
  } finally {
    stop()
  }
}

async function finalOf(
  services: Services,
  { caller }: FastifyRequest,
  { id, until, gone }: { readonly id: string; readonly until: number; readonly gone: AbortController },
): Promise<JobView> {
  const ms = Math.max(0, Math.ceil(until - performance.now()))
  const view = await services.untilFinal(id, caller, { ms, signal: gone.signal })
  if (isFinal(view)) return view
  // timers may end a millisecond early
  if (gone.signal.aborted || performance.now() >= until - 50) {
    throw new AppError(
      'still_running',
      `Job ${id} is not finished yet. It continues; read it at ${view.links.self}.`,
    )
  }
  throw new AppError(
    'unavailable',
    `This server cannot wait for job ${id}. It continues; read it at ${view.links.self}.`,
  )
}

/**
 * The connection may be silent for as long as the call is held, and clients that count silence hear of it; not through a
 * proxy, because nginx takes `102 Processing` for the answer, and the client then gets none.
 */
function keepOpen(request: FastifyRequest, reply: FastifyReply, seconds: number): () => void {
  if (!isConnected(request)) return () => {}
  reply.raw.setTimeout(seconds * 1000 + restMs)
  const { headers, raw } = request
  if (!knowsProcessing.test(headers['user-agent'] ?? '') || raw.httpVersion !== '1.1') return () => {}
  if (headers['x-forwarded-for'] !== undefined) return () => {}
  const timer = setInterval(() => {
    if (!reply.raw.headersSent && !reply.raw.destroyed) reply.raw.writeProcessing()
  }, processingEveryMs)
  return () => clearInterval(timer)
}

/** A job that succeeded, unchanged. Throws what `endOf` returns, and marks the answer as one not to repeat. */
export function requireSuccess(reply: FastifyReply, view: JobView): JobView {
  if (view.status === 'succeeded') return view
  reply.header('x-should-retry', 'false')
  throw endOf(view)
}

/**
 * The error of a job that ended without pictures. A client that repeats the call would pay for the same end again, so
 * its status is none for which clients do that by themselves (502 to 504).
 */
export function endOf({ id, status, error }: JobView): AppError {
  if (status === 'canceled') return new AppError('canceled', `Job ${id} was canceled.`)
  const code = error !== undefined && isCode(error.code) ? error.code : 'generation_failed'
  const message = error?.message ?? `Job ${id} failed.`
  const fault = new AppError(code, message)
  return httpStatus(fault) === 503 ? new AppError('generation_failed', message) : fault
}

function isCode(code: string): code is ErrorCode {
  return Object.hasOwn(errorTable, code)
}
