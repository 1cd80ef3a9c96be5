import { eventOf, type Manifest } from './job.ts'
import { bestEffort, type Log } from './log.ts'
import type { EventQueue, StatusStore } from './ports.ts'

export interface AnnounceDeps {
  readonly status: StatusStore
  readonly events: EventQueue
  readonly log: Log
}

/** Tells of a final job: the status store as well as that is possible now, the servers' event queue for certain. */
export async function announce({ status, events, log }: AnnounceDeps, manifest: Manifest): Promise<void> {
  const { id, status: final, error } = manifest
  const update = { status: final, ...(error === undefined ? {} : { error }) }
  const told = bestEffort(log, 'writing a final status', status.advance(id, update))
  await Promise.all([told, events.publish(eventOf(manifest))])
}
