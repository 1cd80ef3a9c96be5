import type { Manifest } from '../../src/jobs/job.ts'
import type { SeenRun } from './catalogue.ts'
import type { Seen } from './client.ts'
import type { Member } from './members.ts'

/** Reading what a run left behind: what clients saw against what is stored, and what the processes printed. */

/** Compares each job as its client saw it with its manifest; returns what does not match. */
export function compareWithManifests(
  clients: readonly Seen[],
  manifests: ReadonlyMap<string, Manifest>,
): string[] {
  const faults: string[] = []
  for (const { id, job, final, status } of clients) {
    if (id === undefined) {
      faults.push(`${job.key} was never accepted`)
      continue
    }
    const manifest = manifests.get(id)
    if (final === undefined) {
      faults.push(`${id} hangs: its client saw ${status} last, its manifest says ${manifest?.status}`)
      continue
    }
    const same = (list: readonly { sha256: string }[] = []) => list.map(({ sha256 }) => sha256).join()
    if (manifest?.status !== final.status || same(manifest.images) !== same(final.images)) {
      faults.push(`${id} was shown as ${final.status}, its manifest says ${manifest?.status}`)
    }
    if (final.status === 'failed') {
      faults.push(`${id} failed (attempt ${manifest?.attempts}): ${final.error?.message}`)
    }
    if (final.status === 'canceled' && job.cancelAfterMs === undefined) {
      faults.push(`${id} is canceled, and nobody asked for that`)
    }
  }
  return faults
}

/** Each job and the end of the run were told at least once, with one id, and nothing else was. */
export function webhookFaults(
  clients: readonly Seen[],
  { event: end }: SeenRun,
  told: ReadonlyMap<string, number>,
): string[] {
  const ends = clients.flatMap(({ id, final }) =>
    id === undefined || final === undefined ? [] : [`evt_${id.slice(0, 26)}_${final.status}`],
  )
  const expected = end === undefined ? ends : [...ends, end]
  return [
    ...expected.filter((event) => !told.has(event)).map((event) => `${event} was never sent`),
    ...[...told.keys()].filter((event) => !expected.includes(event)).map((event) => `${event} was sent`),
  ]
}

export interface Printed {
  /** How often each message of level error or above was logged. */
  readonly errors: Readonly<Record<string, number>>
  readonly warnings: Readonly<Record<string, number>>
  /** How often a server took a job, a resent one included, and a worker ended one, a repeated one included. */
  readonly accepted: number
  readonly ended: number
  /** Lines that no program of ours prints on purpose: a stack, a warning of Node. */
  readonly strange: readonly string[]
}

export function readOutputs(members: readonly Member[]): Printed {
  const errors: Record<string, number> = {}
  const warnings: Record<string, number> = {}
  const strange: string[] = []
  let [accepted, ended] = [0, 0]
  for (const { name, outputs } of members) {
    for (const line of outputs().flatMap((output) => output.split('\n'))) {
      if (line === '' || line.startsWith('Packshot is ')) continue
      const entry = parsed(line)
      if (entry === undefined || /unhandled|uncaught/i.test(line))
        strange.push(`${name}: ${line.slice(0, 300)}`)
      else if (entry.level >= 50) errors[entry.msg] = (errors[entry.msg] ?? 0) + 1
      else if (entry.level >= 40) warnings[entry.msg] = (warnings[entry.msg] ?? 0) + 1
      else if (entry.msg === 'job accepted') accepted += 1
      else if (entry.msg === 'job is final') ended += 1
    }
  }
  return { errors, warnings, accepted, ended, strange }
}

function parsed(line: string): { level: number; msg: string } | undefined {
  try {
    const { level, msg } = JSON.parse(line)
    return typeof level === 'number' ? { level, msg: String(msg) } : undefined
  } catch {
    return undefined
  }
}
