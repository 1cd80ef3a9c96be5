import type { Config } from '../../config.ts'
import type { Log } from '../../jobs/log.ts'
import { noReports, type Reports } from '../../jobs/reports.ts'
import { followContexts } from '../../jobs/tracing.ts'
import { packageVersion } from '../../version.ts'

/** Traces and reports of faults of one process. */
export interface Telemetry {
  readonly reports: Reports
  /** Sends what waits, for at most two seconds each. To be called when nothing else is left to end. */
  close(): Promise<void>
}

/** The modules of OpenTelemetry's SDK and of Sentry are loaded only where the configuration asks for them. */
export async function openTelemetry(
  { tracing, sentryDsn: dsn, sentryRelease, sentryEnvironment: environment, reportsPerMinute }: Config,
  role: 'server' | 'worker',
  log: Log,
): Promise<Telemetry> {
  followContexts()
  const version = await packageVersion()
  const traces = tracing && (await startTraces(tracing, { role, version }, log))
  const reports = dsn === undefined ? noReports : await startReports()
  return {
    reports,
    async close() {
      await Promise.all([traces?.close(), reports.flush()])
    },
  }

  async function startReports(): Promise<Reports> {
    const { sentryReports } = await import('../../adapters/sentry/reports.ts')
    const release = sentryRelease ?? `packshot@${version}`
    return sentryReports({ dsn: dsn ?? '', release, environment, role, perMinute: reportsPerMinute }, log)
  }
}

async function startTraces(
  settings: NonNullable<Config['tracing']>,
  service: { role: 'server' | 'worker'; version: string },
  log: Log,
) {
  const { startTracing } = await import('../../adapters/opentelemetry/start.ts')
  return startTracing(settings, service, log)
}

/** For a process in an unknown state: it ends at once, or as soon as its report is sent, within two seconds. */
export function endWithReport(reports: Reports, thrown: unknown, end: () => void): void {
  if (reports === noReports) {
    end()
    return
  }
  reports.report(thrown, { of: 'process', code: 'unhandled' })
  void reports.flush().finally(end)
}
