import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ChaosReport } from './chaos.ts'
import type { Plan } from './schedule.ts'

/** The schedule, one line for each fault, and the jobs in one. */
export function scheduleOf({ seed, seconds, faults, jobs }: Plan): string {
  const count = (name: string, number: number) => `${number} ${name}`
  const kinds = [
    count('batch', jobs.filter(({ request }) => request.priority === 'batch').length),
    count('canceled', jobs.filter(({ cancelAfterMs }) => cancelAfterMs !== undefined).length),
    count('sent twice', jobs.filter(({ twice }) => twice).length),
    count('whose client leaves', jobs.filter(({ leaves }) => leaves).length),
  ]
  return [
    `seed ${seed}: ${jobs.length} jobs (${kinds.join(', ')}), ${faults.length} faults in ${seconds} s`,
    ...faults.map(
      ({ at, kind, victim, ms }) => `  ${(at / 1000).toFixed(1)} s  ${kind}  ${victim}  ${ms} ms`,
    ),
  ].join('\n')
}

export function summaryOf({ seed }: Plan, report: ChaosReport): string {
  const list = (counts: Readonly<Record<string, number>>) =>
    Object.entries(counts)
      .toSorted(([, a], [, b]) => b - a)
      .map(([name, count]) => `${count} ${name}`)
      .join(', ')
  const { faults, injected, jobs, attempts, slowest, counted, printed } = report
  return [
    `seed ${seed}, ${report.seconds} s with start and end, settled ${report.settleSeconds} s after the last fault`,
    `catalogue: ${report.pictures} pictures`,
    `jobs: ${list(jobs)}; slowest ${slowest.seconds} s (${slowest.id})`,
    `attempts: ${Object.entries(attempts)
      .map(([attempt, count]) => `${count} ended at attempt ${attempt}`)
      .join(', ')}`,
    `published ${printed.accepted} times, ended by a worker ${printed.ended} times`,
    `metrics: counted ${list(counted.counts)}; ${counted.deaths} processes died between two of ${counted.scrapes} scrapes, in which ${list(counted.missed) || 'nothing'} may be missed`,
    `injected: ${list(injected)}`,
    `clients: ${report.refusals} answers 503 or 429, ${report.lostConnections} connections without an answer`,
    `errors in the logs: ${list(printed.errors) || 'none'}`,
    `warnings in the logs: ${list(printed.warnings) || 'none'}`,
    faults.length === 0
      ? 'no faults found'
      : `${faults.length} FAULTS\n${faults.map((text) => `  ${text}`).join('\n')}`,
  ].join('\n')
}

/** Answers the folder, which stays. */
export function saveOutputs({ outputs }: ChaosReport): string {
  const folder = mkdtempSync(join(tmpdir(), 'packshot-chaos-'))
  for (const [name, text] of Object.entries(outputs)) {
    writeFileSync(join(folder, `${name.replaceAll(' ', '-')}.log`), text)
  }
  return folder
}
