import { setTimeout as sleep } from 'node:timers/promises'
import { loadConfig, requireServices } from '../config.ts'
import { openOffer } from '../library/offer-source.ts'
import type { Engine } from './all-in-one.ts'
import { type Backends, openBackends } from './backends.ts'
import { requireDecision } from './callers.ts'
import { startHttpServer } from './http-server.ts'
import { startMeasuring, tellMetrics } from './observed/metrics.ts'
import { openTelemetry } from './observed/telemetry.ts'
import { createLogger } from './process/logger.ts'
import { type Running, runUntilSignal } from './process/run-until-signal.ts'

export interface ServerOptions extends Pick<Engine, 'openOffer'> {
  /** For tests: wraps the server's backends. */
  readonly around?: (backends: Backends) => Backends
}

/** One stateless server of many. Resolves when it answers; rejects with an error that says what to change. */
export async function startServer(env: NodeJS.ProcessEnv, options: ServerOptions): Promise<Running> {
  const config = loadConfig(env)
  requireServices(config, 'server')
  requireDecision(config)
  const log = createLogger(config, 'server')
  await using starting = new AsyncDisposableStack()
  const telemetry = starting.adopt(await openTelemetry(config, 'server', log), (open) => open.close())
  const offer = await options.openOffer(config, log)
  starting.adopt(offer, (open) => open.close())
  const opened = starting.use(await openBackends(config, 'server', log))
  const backends = { ...opened, ...options.around?.(opened) }
  const measuring = await startMeasuring(config, 'server')
  let ready = false
  const server = starting.use(
    await startHttpServer({
      config,
      backends,
      offer,
      log,
      reports: telemetry.reports,
      measuring,
      ready: () => ready,
    }),
  )
  starting.adopt(await tellMetrics(config, [measuring.text], log), (listener) => listener?.close())
  ready = true

  const running = starting.move()
  return {
    banner: `${server.address} (server, model ${offer.current().models[0]?.name})`,
    log,
    reports: telemetry.reports,
    async stop() {
      ready = false
      await sleep(config.drainSeconds * 1000)
      await running.disposeAsync()
    },
    kill: () => {},
  }
}

if (import.meta.main) await runUntilSignal(() => startServer(process.env, { openOffer }))
