import { type Config, loadConfig } from '../config.ts'
import type { Log } from '../jobs/log.ts'
import { type OfferSource, openOffer } from '../library/offer-source.ts'
import { openBackends } from './backends.ts'
import { requireDecision } from './callers.ts'
import { startHttpServer } from './http-server.ts'
import { startMeasuring, supervisorMetrics, tellMetrics } from './observed/metrics.ts'
import { openTelemetry } from './observed/telemetry.ts'
import { createLogger } from './process/logger.ts'
import { type Running, runUntilSignal } from './process/run-until-signal.ts'
import { superviseWorker, type WorkerSupervisor } from './worker-supervisor.ts'

/** Which engine runs: the real one, or in tests a stand-in. */
export interface Engine {
  /** The program of the worker process: it calls `runWorker`. */
  readonly workerEntry: URL
  /** Names of variables that only its worker needs. */
  readonly workerNeeds?: RegExp
  /** Rejects with an error that says what to change when there is no model to offer. */
  openOffer(config: Config, log: Log): Promise<OfferSource>
}

/**
 * Server in this process, worker in a child process; a part without a URL is embedded. Resolves when the page answers
 * and the worker has loaded its model. Rejects with an error that says what to change.
 */
export async function startAllInOne(env: NodeJS.ProcessEnv, engine: Engine): Promise<Running> {
  const config = loadConfig(env)
  requireDecision(config)
  const log = createLogger(config, 'server')
  await using starting = new AsyncDisposableStack()
  const telemetry = starting.adopt(await openTelemetry(config, 'server', log), (open) => open.close())
  const offer = await engine.openOffer(config, log)
  starting.adopt(offer, (open) => open.close())
  const backends = starting.use(await openBackends(config, 'server', log))
  const measuring = await startMeasuring(config, 'server')
  const measured = supervisorMetrics(config)
  let ready = false
  let worker: WorkerSupervisor | undefined
  const holdings = () => worker?.holdings
  const server = starting.use(
    await startHttpServer({
      config,
      backends,
      offer,
      log,
      reports: telemetry.reports,
      measuring,
      ready: () => ready && worker?.up === true,
      holdings,
    }),
  )
  const texts = [measuring.text, async () => (await worker?.metricsText()) ?? '']
  starting.adopt(await tellMetrics(config, texts, log), (listener) => listener?.close())
  const { workerEntry: entry, workerNeeds } = engine
  worker = superviseWorker({ entry, env, measured, log, ...(workerNeeds && { alsoNeeds: workerNeeds }) })
  starting.adopt(worker, (running) => running.stop(config.shutdownSeconds * 1000))
  await worker.ready
  ready = true

  const running = starting.move()
  return {
    banner: `${server.address} (model ${offer.current().models[0]?.name})`,
    log,
    reports: telemetry.reports,
    async stop() {
      ready = false
      await running.disposeAsync()
    },
    kill: () => worker.kill(),
  }
}

if (import.meta.main) {
  const workerEntry = new URL('./worker-process.ts', import.meta.url)
  await runUntilSignal(() => startAllInOne(process.env, { workerEntry, openOffer }))
}
