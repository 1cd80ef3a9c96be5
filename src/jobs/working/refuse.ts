import { Type } from 'typebox'
import { Value } from 'typebox/value'
import { countExpired } from '../finished.ts'
import { type Task, taskVersion } from '../job.ts'
import { isJobIdShaped, jobIdTime } from '../job-id.ts'
import { bestEffort, type Log, seldom } from '../log.ts'
import type { Metrics } from '../metrics.ts'
import type { Delivery, EventQueue, StatusStore } from '../ports.ts'
import { taskFault } from '../task-check.ts'

/** Deliveries that a worker does not work on. */

interface RefuseDeps {
  readonly status: StatusStore
  readonly events: EventQueue
  readonly now: () => Date
  readonly metrics: Metrics
  readonly log: Log
}

const unknownVersionPauseMs = 30_000

/** A newer server's task waits for a newer worker; a message that is not a task is parked for a person. */
export async function refuse(deps: RefuseDeps, delivery: Delivery): Promise<void> {
  const message = delivery.message
  const version = newerVersion(message, deps.now())
  if (version !== undefined) {
    seldom(deps.log).warn(
      { version, own: taskVersion },
      'tasks of a newer version are left for newer workers: upgrade this one',
    )
    return delivery.giveBack(unknownVersionPauseMs)
  }
  const reason = `not a task: ${taskFault(message)}`
  seldom(deps.log).error({ reason }, 'a message that is not a task was parked')
  return delivery.dead(reason)
}

/**
 * The version of a task that a newer worker may understand: it has an id and is not over. A rollout lasts less than
 * `rolloutMs`; what is older would go round forever.
 */
function newerVersion(message: unknown, now: Date): number | undefined {
  if (!Value.Check(NewerTask, message) || !isJobIdShaped(message.id)) return undefined
  const age = now.getTime() - jobIdTime(message.id).getTime()
  const isOver = !(Date.parse(message.expires_at) > now.getTime()) || age > rolloutMs
  return isOver ? undefined : message.v
}

const rolloutMs = 7 * 24 * 3_600_000
const NewerTask = Type.Object({
  v: Type.Integer({ exclusiveMinimum: taskVersion }),
  id: Type.String(),
  expires_at: Type.String(),
})

export async function expire(deps: RefuseDeps, delivery: Delivery, task: Task): Promise<void> {
  await bestEffort(deps.log, 'writing an expiry', deps.status.advance(task.id, { status: 'expired' }))
  await deps.events.publish({
    v: 1,
    id: task.id,
    status: 'expired',
    at: deps.now().toISOString(),
    ...(task.caller === undefined ? {} : { caller: task.caller }),
    ...(task.trace === undefined ? {} : { trace: task.trace }),
    ...(task.webhook === undefined ? {} : { webhook: task.webhook }),
  })
  await delivery.ack()
  countExpired(deps.metrics, task, deps.now())
  deps.log.warn({ job: task.id }, 'job expired before a worker took it')
}
