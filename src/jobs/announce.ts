import { endOf, eventOf, type Manifest } from './job.ts'
import { bestEffort, type Log } from './log.ts'
import type { EventQueue, StatusStore } from './ports.ts'

export interface AnnounceDeps {
  readonly status: StatusStore
  readonly events: EventQueue
  readonly log: Log
}

/**
 * Reports a final job: to the status store on a best-effort basis, to the servers' event queue reliably. `trace` is
 * that of its task, if known.
 */
export async function announce(
  { status, events, log }: AnnounceDeps,
  manifest: Manifest,
  trace?: string,
): Promise<void> {
  const told = bestEffort(log, 'writing a final status', status.advance(manifest.id, endOf(manifest)))
  await Promise.all([told, events.publish(eventOf(manifest, trace))])
}
