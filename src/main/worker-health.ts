import { once } from 'node:events'
import { createServer } from 'node:http'
import type { Config } from '../config.ts'
import { hostNames, isOwnName } from '../http/hosts.ts'
import type { Holdings } from '../jobs/holdings.ts'

/** What an orchestrator asks of a worker. */
export interface WorkerHealth {
  /** Whether the worker takes tasks. */
  ready: boolean
  /** What the worker has in memory, reported with `ready`. */
  holdings: Holdings | undefined
  close(): void
}

/**
 * `/healthz/live` answers while the event loop does; `/healthz/ready` is 200 while the worker takes tasks, and lists
 * the models in memory. Neither asks a broker or a store: a restart of one of those must not become a restart of every
 * worker. Names other than `isOwnName` allows are refused, as by a server. A hung engine ends the process, so it shows here as no answer.
 */
export async function startWorkerHealth({ workerPort, host, allowedHosts }: Config): Promise<WorkerHealth> {
  const health: WorkerHealth = { ready: false, holdings: undefined, close: () => {} }
  if (workerPort === undefined) return health
  const allowed = hostNames(allowedHosts)
  const server = createServer((request, response) => {
    const named = /^https?:\/\/([^/?#]*)/i.exec(request.url ?? '')?.[1] ?? request.headers.host
    if (named !== undefined && !isOwnName(named, allowed)) {
      response.writeHead(421, { 'content-type': 'application/json' })
      response.end(JSON.stringify({ status: 'wrong host' }))
      return
    }
    const ok = request.url === '/healthz/live' || (request.url === '/healthz/ready' && health.ready)
    const known = request.url === '/healthz/live' || request.url === '/healthz/ready'
    response.writeHead(ok ? 200 : known ? 503 : 404, { 'content-type': 'application/json' })
    const held = ok && request.url === '/healthz/ready' ? health.holdings : undefined
    response.end(JSON.stringify({ status: ok ? 'ok' : known ? 'not ready' : 'not found', ...held }))
  })
  server.listen(workerPort, host)
  try {
    await once(server, 'listening')
  } catch (cause) {
    const message = `The worker cannot listen on port ${workerPort} on ${host} (${cause}). Choose another with PACKSHOT_WORKER_PORT.`
    throw new Error(message, { cause })
  }
  health.close = () => {
    server.close()
    server.closeAllConnections()
  }
  return health
}
