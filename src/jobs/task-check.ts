import { Value } from 'typebox/value'
import { Task } from './job.ts'
import { isJobIdShaped } from './job-id.ts'

/**
 * Whether a message can be processed at all: one that does not pass would fail in every store, forever. Messages may
 * come from any client that reaches the queue.
 */
export function isTask(message: unknown): message is Task {
  return Value.Check(Task, message) && faultOfValues(message) === undefined
}

/** Why a message is not a task, for a person who looks at it. */
export function taskFault(message: unknown): string {
  if (Value.Check(Task, message)) return faultOfValues(message) ?? ''
  const fault = Value.Errors(Task, message)[0]
  return `${fault?.instancePath ?? ''} ${fault?.message ?? ''}`.trim()
}

function faultOfValues({ id, request, created_at, expires_at }: Task): string | undefined {
  if (!isJobIdShaped(id)) return '/id must be a job id'
  if (Number.isNaN(Date.parse(created_at))) return '/created_at must be a date'
  if (Number.isNaN(Date.parse(expires_at))) return '/expires_at must be a date'
  for (const field of ['init_image', 'mask'] as const) {
    const upload = request[field]
    if (upload !== undefined && !isJobIdShaped(upload)) return `/request/${field} must be an upload id`
  }
  return undefined
}
