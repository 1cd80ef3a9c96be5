import { setTimeout as sleep } from 'node:timers/promises'
import type { JobView } from '../../src/jobs/serving/job-view.ts'
import { sha256Of } from '../fleet/truth.ts'
import type { Random } from '../kit/random.ts'
import { between, type PlannedJob } from './schedule.ts'

/** What a client needs of the run. */
export interface World {
  /** Of the servers that are alive, as far as is known. */
  addresses(): readonly string[]
  /** Something that must not happen. */
  fault(text: string): void
  /** Called when a client has seen the end of its job. */
  ended(): void
  /** Resolves when all faults have ended. */
  readonly healed: Promise<void>
  /** Aborted when the run does not wait any longer. */
  readonly over: AbortSignal
}

/** What one client has seen of its job. */
export interface Seen {
  readonly job: PlannedJob
  id: string | undefined
  acceptedAt: number | undefined
  /** The status of the latest answer. */
  status: JobView['status'] | undefined
  /** The first answer with a final status; every later one must say the same. */
  final: JobView | undefined
  refusals: number
  lostConnections: number
}

interface Answer {
  readonly status: number
  readonly bytes: Uint8Array
}

const longestRequestMs = 30_000
/** Sometimes shorter than a server asks for: a run must end. */
const longestPauseMs = 3000

/** Sends one job and follows it to its end, like a client that obeys the documentation. Never rejects. */
export async function followJob(world: World, random: Random, job: PlannedJob): Promise<Seen> {
  const seen: Seen = {
    job,
    id: undefined,
    acceptedAt: undefined,
    status: undefined,
    final: undefined,
    refusals: 0,
    lostConnections: 0,
  }
  try {
    await Promise.all(Array.from({ length: job.twice ? 2 : 1 }, () => submitJob(world, random, seen)))
    if (job.cancelAfterMs !== undefined) {
      await rest(world, job.cancelAfterMs)
      await observe(world, random, seen, 'cancel')
    }
    if (job.leaves) await world.healed
    await untilFinal(world, random, seen)
    await checkPictures(world, random, seen)
    await rest(world, between(random, 500, 4000))
    await observe(world, random, seen, 'GET')
    await world.healed
    await observe(world, random, seen, 'GET')
    await checkPictures(world, random, seen)
  } catch (thrown) {
    if (!world.over.aborted) world.fault(`the client of ${job.key} failed: ${(thrown as Error).stack}`)
  }
  return seen
}

async function submitJob(world: World, random: Random, seen: Seen): Promise<void> {
  const { key, request } = seen.job
  const headers = { 'content-type': 'application/json', 'idempotency-key': key }
  const init = { method: 'POST', headers, body: JSON.stringify(request) }
  const { bytes } = await ask(world, random, seen, '/v1/jobs', init, 202)
  const view = viewOf(bytes)
  if (seen.id !== undefined && seen.id !== view.id) {
    world.fault(`${key} was accepted as ${seen.id} and as ${view.id}`)
  }
  seen.id = view.id
  seen.acceptedAt ??= Date.now()
}

async function untilFinal(world: World, random: Random, seen: Seen): Promise<void> {
  while (seen.final === undefined) {
    const view = await observe(world, random, seen, 'GET')
    if (seen.final !== undefined) return
    if (!((view.poll_after_ms ?? 0) > 0)) world.fault(`${seen.id} is ${view.status} without poll_after_ms`)
    await rest(world, Math.min(longestPauseMs, view.poll_after_ms ?? 500))
  }
}

async function observe(world: World, random: Random, seen: Seen, action: 'GET' | 'cancel'): Promise<JobView> {
  const [path, method] = action === 'GET' ? ['', 'GET'] : ['/cancel', 'POST']
  const { bytes } = await ask(world, random, seen, `/v1/jobs/${seen.id}${path}`, { method }, 200)
  const view = viewOf(bytes)
  const { job, final } = seen
  seen.status = view.status
  if (view.id !== seen.id) world.fault(`${seen.id} was asked for, ${view.id} was answered`)
  if (final !== undefined && essence(view) !== essence(final)) {
    world.fault(`${seen.id} was ${essence(final)} and is ${essence(view)} now`)
  }
  if (view.status === 'queued' || view.status === 'running') return view
  if (final === undefined) world.ended()
  seen.final ??= view
  const { prompt, seed, count } = job.request
  const seeds = view.images.map((image) => image.seed).join()
  const expected = view.status === 'succeeded' ? (count === 1 ? `${seed}` : `${seed},${seed + 1}`) : ''
  if (seeds !== expected) world.fault(`${seen.id} has the seeds ${seeds} instead of ${expected}`)
  if (view.request?.prompt !== prompt) world.fault(`${seen.id} has the prompt ${view.request?.prompt}`)
  return view
}

/** What must never change once a job is final. */
function essence({ status, images, finished_at }: JobView): string {
  return JSON.stringify({ status, finished_at, images: images.map(({ sha256 }) => sha256) })
}

async function checkPictures(world: World, random: Random, seen: Seen): Promise<void> {
  for (const { url, sha256, bytes: length } of seen.final?.images ?? []) {
    const { bytes } = await ask(world, random, seen, url, { method: 'GET' }, 200)
    if (sha256Of(bytes) !== sha256 || bytes.length !== length) {
      world.fault(`${url} was served with ${bytes.length} bytes of another hash than ${sha256}`)
    }
  }
}

/** Asks one server after the other until one gives the answer; every undocumented answer is a fault. */
export async function ask(
  world: World,
  random: Random,
  seen: Pick<Seen, 'refusals' | 'lostConnections'>,
  path: string,
  init: RequestInit,
  wanted: number,
): Promise<Answer> {
  for (;;) {
    const address = oneOf(random, world.addresses())
    const answered = address === undefined ? undefined : await request(`${address}${path}`, init)
    world.over.throwIfAborted()
    if (answered === undefined) {
      if (address !== undefined) seen.lostConnections += 1
      await rest(world, between(random, 100, 400))
      continue
    }
    if (answered.status === wanted) return answered
    seen.refusals += 1
    const { status, retryAfter } = answered
    const may = status === 503 || (status === 429 && init.method === 'POST')
    if (!may || !/^[1-9]\d*$/.test(retryAfter ?? '')) {
      const text = Buffer.from(answered.bytes).toString().slice(0, 300)
      world.fault(`${init.method} ${path} was answered ${status}, Retry-After ${retryAfter}: ${text}`)
    }
    await rest(world, (0.5 + random() / 2) * Math.min(longestPauseMs, Number(retryAfter ?? 1) * 1000))
  }
}

async function request(url: string, init: RequestInit) {
  try {
    const response = await fetch(url, { ...init, signal: AbortSignal.timeout(longestRequestMs) })
    const bytes = new Uint8Array(await response.arrayBuffer())
    return { status: response.status, bytes, retryAfter: response.headers.get('retry-after') }
  } catch {
    return undefined
  }
}

function oneOf<T>(random: Random, from: readonly T[]): T | undefined {
  return from[Math.floor(random() * from.length)]
}

export function rest({ over }: World, ms: number): Promise<void> {
  return sleep(ms, undefined, { signal: over })
}

function viewOf(bytes: Uint8Array): JobView {
  return JSON.parse(Buffer.from(bytes).toString()) as JobView
}
