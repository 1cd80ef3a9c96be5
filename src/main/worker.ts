import { loadConfig, requireServices } from '../config.ts'
import { supervisorMetrics, tellMetrics } from './observed/metrics.ts'
import { openTelemetry } from './observed/telemetry.ts'
import { createLogger } from './process/logger.ts'
import { type Running, runUntilSignal } from './process/run-until-signal.ts'
import { superviseWorker, type WorkerSupervisor } from './worker-supervisor.ts'

/**
 * One worker of many: a process that does the work, and this one, which restarts it when native code crashes it.
 * Resolves when the model is loaded; rejects with an error that says what to change.
 */
export async function startWorker(env: NodeJS.ProcessEnv, entry: URL, alsoNeeds?: RegExp): Promise<Running> {
  const config = loadConfig(env)
  requireServices(config, 'worker')
  const log = createLogger(config, 'worker')
  const { reports } = await openTelemetry({ ...config, tracing: undefined }, 'worker', log)
  const measured = supervisorMetrics(config)
  let worker: WorkerSupervisor | undefined
  const texts = [async () => (await worker?.metricsText()) ?? '']
  const listener = await tellMetrics(config, texts, log)
  const started = superviseWorker({ entry, env, measured, log, ...(alsoNeeds && { alsoNeeds }) })
  worker = started
  try {
    await started.ready
  } catch (thrown) {
    started.kill()
    listener?.close()
    throw thrown
  }
  return {
    banner: `worker for ${config.model}`,
    log,
    reports,
    async stop() {
      await started.stop(config.shutdownSeconds * 1000)
      listener?.close()
    },
    kill: () => started.kill(),
  }
}

if (import.meta.main) {
  const entry = new URL('./worker-process.ts', import.meta.url)
  await runUntilSignal(() => startWorker(process.env, entry))
}
