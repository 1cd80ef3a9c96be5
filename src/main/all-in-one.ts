import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { diskImageStore } from '../adapters/disk/image-store.ts'
import { openDatabase, readSecret } from '../adapters/sqlite/database.ts'
import { sqliteEventQueue } from '../adapters/sqlite/event-queue.ts'
import { lockFolder } from '../adapters/sqlite/folder-lock.ts'
import { sqliteStatusStore } from '../adapters/sqlite/status-store.ts'
import { sqliteTaskQueue } from '../adapters/sqlite/task-queue.ts'
import { type Config, loadConfig } from '../config.ts'
import { buildHttp } from '../http/app.ts'
import { createJobIds } from '../jobs/job-id.ts'
import type { ModelInfo } from '../jobs/ports.ts'
import { defaultLimits } from '../jobs/request.ts'
import { openDataFolder } from './data-folder.ts'
import { startHousekeeping } from './housekeeping.ts'
import { createLogger } from './logger.ts'
import { describeModels } from './model.ts'
import { type Running, runUntilSignal } from './run-until-signal.ts'
import { createServices } from './services.ts'
import { superviseWorker } from './worker-supervisor.ts'

/** Which engine runs: the real one, or in tests a stand-in. */
export interface Engine {
  readonly inferenceEntry: URL
  describeModels(config: Config): Promise<readonly ModelInfo[]>
}

/**
 * Server, embedded queue and storage in this process, the worker in a child process. Resolves when the page answers
 * and the worker has loaded its model. Rejects with an error that says what to change.
 */
export async function startAllInOne(env: NodeJS.ProcessEnv, engine: Engine): Promise<Running> {
  const config = loadConfig(env)
  const log = createLogger(config, 'server')
  await using building = new AsyncDisposableStack()
  const folder = await openDataFolder(config.dataDir)
  const models = await engine.describeModels(config)
  building.adopt(lockFolder(folder.lock, folder.path), (lock) => lock.release())
  const database = building.adopt(openDatabase(folder.database), (open) => open.close())

  const ttlSeconds = config.resultTtlSeconds
  const status = sqliteStatusStore(database)
  const images = diskImageStore({ folder: folder.results, ttlSeconds })
  const queue = sqliteTaskQueue(database, { max: config.queueMax, owner: 'server', log })
  const events = building.adopt(sqliteEventQueue(database, { log }), (open) => open.close())
  const ids = createJobIds(readSecret(database, 'job-ids'))
  let ready = false
  const core = { ids, images, status, queue, events, models, ttlSeconds, log, limits: defaultLimits }
  const services = createServices({ ...core, now: () => new Date() }, () => ready)

  const http = building.adopt(await buildHttp({ services, log }), (app) => app.close())
  const address = await listen(http, config)
  const worker = superviseWorker({ inferenceEntry: engine.inferenceEntry, env, log })
  building.adopt(worker, (running) => running.stop(config.shutdownSeconds * 1000))
  building.adopt(startHousekeeping({ images, status, events, ttlSeconds, log }), (keeping) => keeping.stop())
  await worker.ready
  ready = true

  const running = building.move()
  return {
    address,
    models,
    async stop() {
      ready = false
      await running.disposeAsync()
    },
    killWorker: () => worker.kill(),
  }
}

async function listen(http: FastifyInstance, { host, port }: Config): Promise<string> {
  try {
    await http.listen({ host, port })
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? cause.code : undefined
    const reasons: Record<string, string> = {
      EADDRINUSE: `Port ${port} of ${host} is in use by another program. Choose another one with PORT, such as PORT=${port === 65_535 ? 8080 : port + 1}.`,
      EACCES: `This user may not listen on port ${port}. Choose one above 1023 with PORT.`,
      EADDRNOTAVAIL: `${host} is not an address of this machine. Correct PACKSHOT_HOST.`,
      ENOTFOUND: `${host} is not an address of this machine. Correct PACKSHOT_HOST.`,
    }
    throw new Error(reasons[String(code)] ?? `Listening on ${host} port ${port} failed: ${cause}`, { cause })
  }
  const bound = http.server.address() as AddressInfo
  const shown = bound.family === 'IPv6' ? `[${bound.address}]` : bound.address
  return `http://${shown === '0.0.0.0' || shown === '[::]' ? 'localhost' : shown}:${bound.port}`
}

if (import.meta.main) {
  const inferenceEntry = new URL('./inference-thread.ts', import.meta.url)
  await runUntilSignal(() => startAllInOne(process.env, { inferenceEntry, describeModels }))
}
