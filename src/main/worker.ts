import { loadConfig, requireServices } from '../config.ts'
import { createLogger } from './logger.ts'
import { type Running, runUntilSignal } from './run-until-signal.ts'
import { openTelemetry } from './telemetry.ts'
import { superviseWorker } from './worker-supervisor.ts'

/**
 * One worker of many: a process that does the work, and this one, which restarts it when native code crashes it.
 * Resolves when the model is loaded; rejects with an error that says what to change.
 */
export async function startWorker(env: NodeJS.ProcessEnv, entry: URL, alsoNeeds?: RegExp): Promise<Running> {
  const config = loadConfig(env)
  requireServices(config, 'worker')
  const log = createLogger(config, 'worker')
  const { reports } = await openTelemetry({ ...config, tracing: undefined }, 'worker', log)
  const worker = superviseWorker({ entry, env, log, ...(alsoNeeds && { alsoNeeds }) })
  try {
    await worker.ready
  } catch (thrown) {
    worker.kill()
    throw thrown
  }
  return {
    banner: `worker for ${config.model}`,
    log,
    reports,
    stop: () => worker.stop(config.shutdownSeconds * 1000),
    kill: () => worker.kill(),
  }
}

if (import.meta.main) {
  const entry = new URL('./worker-process.ts', import.meta.url)
  await runUntilSignal(() => startWorker(process.env, entry))
}
