import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { type JobView, viewOfManifest } from '../../src/jobs/serving/job-view.ts'
import { waitFor } from '../kit/waiting.ts'
import { type ServerProcess, untilFinal, untilView, view } from '../service/server-process.ts'
import { messagesOf } from '../services/broker-namespace.ts'
import type { Services } from '../services/provide.ts'
import { type Fleet, idsOf } from './fleet.ts'
import { assertTruth, readStorage, type TruthOptions } from './truth.ts'

/** Processes of a fleet that were started together, and what a client of theirs does. */
export interface Crew {
  readonly servers: readonly ServerProcess[]
  readonly workers: readonly ServerProcess[]
  /** Of the servers, in order. */
  readonly addresses: readonly [string, ...string[]]
}

/** Resolves when all are ready. */
export async function startCrew(
  fleet: Fleet,
  counts: { servers: number; workers: number },
  env: Record<string, string> = {},
): Promise<Crew> {
  const servers = Array.from({ length: counts.servers }, () => fleet.server(env))
  const workers = Array.from({ length: counts.workers }, () => fleet.worker(env))
  await Promise.all(workers.map((worker) => worker.address))
  const [first, ...more] = await Promise.all(servers.map((server) => server.address))
  if (first === undefined) throw new Error('a crew has a server')
  return { servers, workers, addresses: [first, ...more] }
}

export interface Answer {
  readonly status: number
  readonly retryAfter: number
  readonly body: JobView & { readonly error?: { readonly code: string; readonly message: string } }
  readonly ms: number
}

/** Submits a job and answers whatever came back; rejects when nothing did. */
export async function post(
  address: string,
  body: object,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const began = performance.now()
  const response = await fetch(`${address}/v1/jobs`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  })
  return {
    status: response.status,
    retryAfter: Number(response.headers.get('retry-after') ?? Number.NaN),
    body: (await response.json()) as Answer['body'],
    ms: performance.now() - began,
  }
}

/** An acceptable refusal: it states why and when to retry. */
export function assertRefused(answer: Answer, code: 'unavailable' | 'queue_full' = 'unavailable'): void {
  assert.deepEqual([answer.status, answer.body.error?.code], [503, code])
  assert.ok(answer.retryAfter >= 1 && answer.retryAfter <= 120, `Retry-After: ${answer.retryAfter}`)
}

/** A confirm of the broker is waited for longer. */
const quickMs = 3000

/**
 * Refused without waiting for the broker, because it is known to be unavailable. Of several tries one is quick, even on
 * a slow machine; a try that waits for the broker never is.
 */
export async function untilRefusedAtOnce(address: string): Promise<void> {
  await waitFor(async () => {
    const answer = await post(address, { prompt: 'a red apple' })
    assertRefused(answer)
    return answer.ms < quickMs
  })
}

/** Submits until it is accepted; answers the id. Every refusal on the way is one of those that clients can live with. */
export async function submitPatiently(address: string, body: object): Promise<string> {
  let id: string | undefined
  await waitFor(async () => {
    const answer = await post(address, body)
    if (answer.status === 202) id = answer.body.id
    else assertRefused(answer)
    return id !== undefined
  })
  return id ?? ''
}

/** Cancels a job and returns its state. A server that cannot reach Redis in time refuses, and is asked again. */
export async function cancelPatiently(
  address: string,
  id: string,
  body: { readonly keep?: boolean } = {},
): Promise<JobView> {
  let view: JobView | undefined
  await waitFor(async () => {
    const answer = await fetch(`${address}/v1/jobs/${id}/cancel`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
    const told = await answer.json()
    if (answer.status === 200) view = told as JobView
    else assert.equal(answer.status, 503)
    return view !== undefined
  })
  return view as JobView
}

export interface Load {
  /** Ids that were answered 202. */
  readonly accepted: string[]
  refused(): number
  stop(): Promise<void>
}

/** One client that submits without end, to each server in turn; every answer has to be a 202 or a decent refusal. */
export function startLoad(addresses: readonly string[], prompt: string, pauseMs: number): Load {
  const accepted: string[] = []
  let refused = 0
  let going = true
  const run = async () => {
    for (let n = 0; going; n += 1) {
      const answer = await post(addresses[n % addresses.length] ?? '', { prompt, seed: n })
      if (answer.status === 202) accepted.push(answer.body.id)
      else {
        assertRefused(answer)
        refused += 1
      }
      await sleep(pauseMs)
    }
  }
  const running = run()
  // reported by stop
  running.catch(() => {})
  return {
    accepted,
    refused: () => refused,
    stop() {
      going = false
      return running
    },
  }
}

/** A server that waits for Redis in vain takes a running job for one that is queued: it is asked again. */
export async function untilRuns(address: string, id: string): Promise<void> {
  const { status } = await untilView(address, id, (view) => view.status !== 'queued')
  assert.equal(status, 'running')
}

export async function untilSays(program: ServerProcess, words: string, times = 1): Promise<void> {
  await waitFor(async () => program.output().split(words).length > times)
}

function outputsOf({ servers, workers }: Crew): string {
  return [...servers, ...workers].map(({ output }) => output().slice(-4000)).join('\n=====\n')
}

/** Sends SIGTERM and expects an end in peace. */
export async function endInPeace(...programs: readonly ServerProcess[]): Promise<void> {
  for (const { process } of programs) process.kill('SIGTERM')
  for (const { ended, output } of programs) assert.equal(await ended, 0, output().slice(-4000))
}

/**
 * Waits until every accepted job is final and every queue empty, ends the processes in peace, and looks at the truth:
 * nothing is wrong with it, and each server answers what the manifests say.
 */
export async function endWell(
  fleet: Fleet,
  services: Services,
  crew: Crew,
  accepted: readonly string[],
  options: TruthOptions = {},
): Promise<void> {
  const { addresses } = crew
  for (const id of accepted) await untilFinal(addresses[0], id)
  const stored = await readStorage(fleet, services)
  for (const id of accepted) {
    const manifest = stored.manifests.get(id)
    assert.ok(manifest !== undefined, `job ${id} is said to be final and has no manifest`)
    for (const address of addresses) {
      // notes are added to each answer, and not stored
      const { notes: _, ...answered } = await view(address, id)
      assert.deepEqual(answered, viewOfManifest({ ids: idsOf(fleet) }, manifest))
    }
  }
  const parked = `${fleet.namespace}.parked.v1`
  const untilEmpty = async () => {
    let left: Record<string, number> = {}
    let looks = 0
    // a task on its way from a retry queue to the next one is in neither for a moment
    await waitFor(async () => {
      const { [parked]: _parked, ...others } = await messagesOf(services.queueUrl, fleet.namespace)
      left = others
      looks = Object.keys(left).length === 0 ? looks + 1 : 0
      return looks === 4
    }).catch(() => assert.deepEqual(left, {}, outputsOf(crew)))
  }
  await untilEmpty()
  // an idle one may not even run yet
  await Promise.all(crew.workers.map((worker) => worker.address))
  await endInPeace(...crew.workers)
  await untilEmpty()
  await endInPeace(...crew.servers)
  await assertTruth(fleet, services, accepted, options)
}
