import { Value } from 'typebox/value'
import { defaultLimits, jobRequestSchema } from './fields.ts'
import { isBackground } from './finish.ts'
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

/** Results are kept for a year at most. */
const longestLifeMs = 366 * 24 * 3_600_000
/** Clocks differ, but not by more. */
const clockSlackMs = 24 * 3_600_000

function faultOfValues({ id, request, units = 0, created_at, expires_at }: Task): string | undefined {
  if (!isJobIdShaped(id)) return '/id must be a job id'
  if (Number.isNaN(Date.parse(created_at))) return '/created_at must be a date'
  if (Number.isNaN(Date.parse(expires_at))) return '/expires_at must be a date'
  const created = Date.parse(created_at)
  if (created > Date.now() + clockSlackMs) return '/created_at must not be in the future'
  if (Date.parse(expires_at) - created > longestLifeMs)
    return '/expires_at must be within a year of /created_at'
  if (!(units >= 0 && units <= Number.MAX_SAFE_INTEGER)) return '/units must be a positive number'
  // the limits of a request apply to a task too: its sender may not be a server
  const schema = jobRequestSchema(defaultLimits)
  const fault = Value.Check(schema, request) ? undefined : Value.Errors(schema, request)[0]
  if (fault !== undefined) return `/request${fault.instancePath} ${fault.message}`
  for (const field of ['init_image', 'mask'] as const) {
    const upload = request[field]
    if (upload !== undefined && !isJobIdShaped(upload)) return `/request/${field} must be an upload id`
  }
  const { finish, keep, strength, hires } = request
  if (hires !== undefined && Math.max(hires.width, hires.height) > defaultLimits.maxSize) {
    return `/request/hires must have sides of at most ${defaultLimits.maxSize}`
  }
  if (strength === 0 && finish === undefined && keep === undefined)
    return '/request/finish or /request/keep must be there if nothing is drawn'
  if (finish !== undefined && !isBackground(finish.background)) {
    return '/request/finish/background must be a background'
  }
  return undefined
}
