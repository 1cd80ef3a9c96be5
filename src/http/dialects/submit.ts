import type { FastifyRequest } from 'fastify'
import { isFinal, type JobView } from '../../jobs/serving/job-view.ts'
import { traceOf } from '../api/jobs.ts'
import type { Services } from '../services.ts'

interface Wanted {
  /** A body of POST /v1/jobs; its `count` is set here. */
  readonly body: Readonly<Record<string, unknown>>
  /** Pictures wanted. */
  readonly total: number
  /** Of the first picture; required if there are several jobs. */
  readonly seed?: number
  readonly idempotencyKey?: string
}

const seeds = 2 ** 32

/**
 * Accepts a request for more pictures than a job may have, as several jobs with the seeds that one would have had. All
 * of them or none: if one is refused, those before it are canceled. Rejects like `Services.submit`.
 */
export async function submitAll(
  services: Services,
  request: FastifyRequest,
  { body, total, seed, idempotencyKey }: Wanted,
): Promise<readonly JobView[]> {
  const most = services.limits.maxCount
  const accepted: JobView[] = []
  const { caller } = request
  try {
    for (let first = 0; first < total; first += most) {
      const part = {
        ...body,
        ...(total === 1 ? {} : { count: Math.min(most, total - first) }),
        ...(seed === undefined ? {} : { seed: first === 0 ? seed : (seed + first) % seeds }),
      }
      const key = idempotencyKey === undefined ? {} : { idempotencyKey: `${idempotencyKey}.${first}` }
      accepted.push(
        await services.submit(part, { caller, base: request.publicAddress(), ...traceOf(request), ...key }),
      )
    }
  } catch (thrown) {
    await Promise.allSettled(
      accepted.filter((view) => !isFinal(view)).map(({ id }) => services.cancel(id, caller)),
    )
    throw thrown
  }
  return accepted
}
