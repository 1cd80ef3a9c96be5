import { createHash } from 'node:crypto'
import { availableParallelism, loadavg } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'

/**
 * How tests wait: for an event, with a limit that measures nothing and only ends a test that would hang. Limits are
 * written for an idle machine of two cores, and stretched by how slow this one is found to be when they are reached.
 */

/** What `fixedWork` takes on one idle core of such a machine. */
const idleMs = 40
const longestStretch = 30

const longestSetting = 4

/** How many times longer than on an idle machine things take here and now: 1 or more. Takes `idleMs` times the answer. */
function slowness(): number {
  const began = performance.now()
  fixedWork()
  const measured = (performance.now() - began) / idleMs
  // the measurement is of one moment; the load is that of the last minute
  const load = loadavg()[0] ?? 0
  return Math.min(longestStretch, Math.max(1, measured, load / availableParallelism()))
}

/**
 * A time that a program under test is given, in any unit, rounded up: the life of a result, the length of an attempt. A
 * test waits until it is over, so it is stretched with moderation.
 */
export function stretched(idle: number): number {
  return Math.ceil(idle * Math.min(longestSetting, slowness()))
}

function fixedWork(): void {
  const data = Buffer.alloc(1_000_000)
  for (let round = 0; round < 40; round += 1) createHash('sha256').update(data).digest()
}

/** Answers whether the limit is over; asked again and again. */
export function deadline(limitMs: number): () => boolean {
  const began = performance.now()
  let limit = limitMs
  return () => {
    const waited = performance.now() - began
    if (waited > limit) limit = Math.max(limit, limitMs * slowness())
    return waited > limit
  }
}

/** Between two questions: a question to a fleet costs several processes some milliseconds, so a long wait asks less often. */
const pauseMs = { shortest: 40, longest: 500, shareOfWait: 0.2 }

/** Asks again and again; rejects when the limit is over. What `done` throws is thrown. */
export async function waitFor(done: () => unknown, limitMs = 60_000): Promise<void> {
  const isOver = deadline(limitMs)
  const began = performance.now()
  while (!(await done())) {
    if (isOver()) throw new Error(`waited in vain until ${done}`)
    const { shortest, longest, shareOfWait } = pauseMs
    await sleep(Math.min(longest, Math.max(shortest, shareOfWait * (performance.now() - began))))
  }
}

/** Resolves to `undefined` if the limit is over before the promise is settled. */
export async function inTime<T>(promise: Promise<T>, limitMs: number): Promise<T | undefined> {
  const settled = new AbortController()
  const isOver = deadline(limitMs)
  const late = async () => {
    while (!isOver()) await sleep(Math.min(limitMs, 200), undefined, { signal: settled.signal })
    return undefined
  }
  try {
    return await Promise.race([promise, late()])
  } finally {
    settled.abort()
  }
}
