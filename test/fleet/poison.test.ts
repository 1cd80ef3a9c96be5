import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { Value } from 'typebox/value'
import { Task, taskVersion } from '../../src/jobs/job.ts'
import { createJobIds, isJobIdShaped } from '../../src/jobs/job-id.ts'
import { tempFolder } from '../cleanup.ts'
import { someTask } from '../contract/jobs.ts'
import { randomOf } from '../kit/random.ts'
import { stretched, waitFor } from '../kit/waiting.ts'
import { submit, untilFinal, view } from '../service/server-process.ts'
import { services } from '../services/services.ts'
import { untilSays } from './crew.ts'
import { type Fleet, prepareFleet } from './fleet.ts'
import { rawBroker } from './raw-broker.ts'
import { assertTruth } from './truth.ts'

/** F11 to F14: jobs and messages that harm the process that handles them. */

async function startFleet(t: TestContext, workers: readonly Record<string, string>[], extra = {}) {
  const all = await services()
  const fleet = await prepareFleet(t, all, extra)
  const server = fleet.server()
  const started = workers.map((env) => fleet.worker(env))
  await Promise.all(started.map((worker) => worker.address))
  const raw = rawBroker(t, fleet, all.queueUrl)
  return { all, fleet, raw, server, address: await server.address, workers: started }
}

/** A new id that the servers of the fleet know as theirs. */
function idOf(fleet: Fleet): string {
  return createJobIds(Buffer.from(fleet.env.PACKSHOT_SECRET ?? '')).issue(new Date())
}

test('F11: a prompt that kills its worker process every time fails, and the jobs behind it are made', async (t) => {
  const { all, fleet, address, workers } = await startFleet(t, [{}, {}])
  const { id } = await submit(address, { prompt: 'kill' })
  const behind = []
  for (let n = 0; n < 4; n += 1) behind.push((await submit(address, { prompt: '10ms' })).id)
  const { status, error } = await untilFinal(address, id)
  assert.deepEqual([status, error?.code], ['failed', 'generation_failed'])
  for (const each of behind) assert.equal((await untilFinal(address, each)).status, 'succeeded')
  // two at the start, and one for each of the five that it killed
  const started = () => workers.flatMap((worker) => worker.workers()).length
  await waitFor(async () => started() === 7)
  assert.equal(
    (await untilFinal(address, (await submit(address, { prompt: '10ms' })).id)).status,
    'succeeded',
  )
  assert.equal(started(), 7)
  await assertTruth(fleet, all, [id, ...behind], { others: true })
})

test('F11: a thread that dies every time costs three attempts and no worker', async (t) => {
  const { address, workers } = await startFleet(t, [{ TEST_TELL: '1' }])
  const { id } = await submit(address, { prompt: 'crash' })
  const next = await submit(address, { prompt: 'an apple' })
  const { status, error } = await untilFinal(address, id)
  assert.deepEqual([status, error?.code], ['failed', 'generation_failed'])
  assert.equal((await untilFinal(address, next.id)).status, 'succeeded')
  assert.equal(workers[0]?.output().split('engine begins "crash"').length, 1 + 3)
  assert.equal(workers[0]?.workers().length, 1)
})

test('F11: a thread that dies with several jobs costs each an attempt; then each is alone, and only the one at fault fails', async (t) => {
  const gate = join(tempFolder(t), 'gate')
  const worker = { TEST_TELL: '1', TEST_GATE: gate, PACKSHOT_BATCH: '4' }
  const { all, fleet, address, workers } = await startFleet(t, [worker])
  const [told] = workers
  assert.ok(told)
  const beside = []
  for (const seed of [1, 2]) beside.push((await submit(address, { prompt: 'gate', seed })).id)
  await waitFor(async () => told.output().split('engine begins "gate"').length === 3)
  const { id } = await submit(address, { prompt: 'crash' })
  await untilSays(told, 'engine begins "crash"')
  writeFileSync(gate, '')
  const { status, error } = await untilFinal(address, id)
  assert.deepEqual([status, error?.code], ['failed', 'generation_failed'])
  const parts = await fleet.open()
  for (const each of beside) {
    assert.equal((await untilFinal(address, each)).status, 'succeeded')
    assert.equal((await parts.images.getManifest(each))?.attempts, 2)
  }
  assert.equal(told.output().split('engine begins "crash"').length, 1 + 3)
  assert.equal(told.workers().length, 1)
  await assertTruth(fleet, all, [id, ...beside])
})

test('F11: a task that the broker gives up is failed by a server and parked', async (t) => {
  const { all, fleet, raw, address } = await startFleet(t, [])
  const { id } = await submit(address, { prompt: 'nobody can hold it' })
  let taken = 0
  await waitFor(async () => {
    if ((await raw.takeAndDie('tasks.interactive.v1')) !== undefined) taken += 1
    return (await view(address, id)).status === 'failed'
  })
  assert.equal(taken, 11, 'delivered once, and ten more times')
  const { error } = await view(address, id)
  assert.deepEqual(error, {
    code: 'generation_failed',
    message: 'Workers failed on this job too many times.',
  })
  await waitFor(async () => (await raw.ready())['parked.v1'] === 1)
  await assertTruth(fleet, all, [id], { parked: 1 })
})

test('F12: messages that are no tasks are parked, and the workers go on', async (t) => {
  const { all, fleet, raw, address, workers } = await startFleet(t, [{}, {}])
  const task = someTask({ id: idOf(fleet) })
  const json = { contentType: 'application/json' }
  const foreign: [body: string | Uint8Array, properties?: object][] = [
    [''],
    ['', json],
    ['hello', json],
    ['hello', { contentType: 'text/plain' }],
    ['null', json],
    ['[]', json],
    ['{}', json],
    ['42', json],
    ['{"v":1}', json],
    [JSON.stringify(task).slice(0, -20), json],
    [JSON.stringify({ ...task, v: 0 }), json],
    [JSON.stringify({ ...task, v: '1' }), json],
    [JSON.stringify({ ...task, id: 7 }), json],
    [JSON.stringify({ ...task, id: '../../secret' }), json],
    [JSON.stringify({ ...task, id: '' }), json],
    [JSON.stringify({ ...task, created_at: 'yesterday' }), json],
    [JSON.stringify({ ...task, expires_at: 'never' }), json],
    [JSON.stringify({ ...task, request: { ...task.request, seed: '7' } }), json],
    [JSON.stringify({ ...task, request: undefined }), json],
    [JSON.stringify({ ...task, priority: 'mine' }), json],
    [Buffer.alloc(1_000_000, 255), json],
    [Buffer.from([0x1f, 0x8b, 0, 1, 2, 3]), { ...json, contentEncoding: 'gzip' }],
    ['{}', { ...json, headers: { 'x-packshot-attempt': 'nonsense', 'x-death': 'mine' } }],
    ['{}', { ...json, headers: { 'x-packshot-attempt': -1, 'x-packshot-reason': 7 } }],
  ]
  for (const [body, properties] of foreign) await raw.put(body, properties)
  const { id } = await submit(address, { prompt: '10ms' })
  assert.equal((await untilFinal(address, id)).status, 'succeeded')
  await waitFor(async () => (await raw.ready())['parked.v1'] === foreign.length)
  await assertTruth(fleet, all, [id], { parked: foreign.length })
  assert.deepEqual(
    workers.map((worker) => worker.workers().length),
    [1, 1],
  )
})

test('F12: 200 tasks that were mutilated are each made or parked', async (t) => {
  const { all, fleet, raw, address } = await startFleet(t, [{}, {}])
  const random = randomOf(20_261_122)
  const valid = new Set<string>()
  let parked = 0
  for (let n = 0; n < 200; n += 1) {
    const body = mutilated(JSON.stringify(someTask({ id: idOf(fleet) })), random)
    const value = parsed(body)
    // a task of a newer version waits for a newer worker: that is F29
    if (isObject(value) && typeof value.v === 'number' && value.v > taskVersion) continue
    const good = Value.Check(Task, value) && isJobIdShaped(value.id) && areDates(value)
    if (good) valid.add(value.id)
    else parked += 1
    await raw.put(body, { contentType: 'application/json' })
  }
  assert.ok(parked > 50 && valid.size > 20, `${parked} are no tasks, ${valid.size} are`)
  await waitFor(async () => {
    const { 'parked.v1': lying = 0, ...others } = await raw.ready()
    return lying === parked && Object.keys(others).length === 0
  })
  const { id } = await submit(address, { prompt: '10ms' })
  assert.equal((await untilFinal(address, id)).status, 'succeeded')
  await assertTruth(fleet, all, [id, ...valid], { parked, others: true })
})

/** Enough for a job of 10 ms, however slow the machine is. */
const attemptSeconds = () => String(stretched(1))

test('F13: an engine that hangs ends as timeout after its attempts, and later jobs are made', async (t) => {
  const patience = JSON.stringify({ threadTimes: { abortGraceMs: 300 } })
  const env = { TEST_PATIENCE: patience, PACKSHOT_ATTEMPT_SECONDS: attemptSeconds(), TEST_TELL: '1' }
  const { all, fleet, address, workers } = await startFleet(t, [env])
  const { id } = await submit(address, { prompt: 'hang' })
  const next = await submit(address, { prompt: '10ms' })
  assert.equal((await untilFinal(address, next.id)).status, 'succeeded')
  const { status, error } = await untilFinal(address, id)
  assert.deepEqual([status, error?.code], ['failed', 'timeout'])
  const parts = await fleet.open()
  assert.equal((await parts.images.getManifest(id))?.attempts, 3)
  assert.equal(workers[0]?.output().split('engine begins "hang"').length, 1 + 3)
  assert.equal(workers[0]?.workers().length, 1, 'a thread that can be ended costs no process')
  await assertTruth(fleet, all, [id, next.id])
})

test('F13: an engine that hangs in native code takes its process with it, and ends as failed', async (t) => {
  const patience = JSON.stringify({ threadTimes: { abortGraceMs: 100, endMs: 200 } })
  const env = { TEST_PATIENCE: patience, PACKSHOT_ATTEMPT_SECONDS: attemptSeconds() }
  const { all, fleet, address, workers } = await startFleet(t, [env, env])
  const { id } = await submit(address, { prompt: 'stuck' })
  const { status, error } = await untilFinal(address, id)
  assert.deepEqual([status, error?.code], ['failed', 'generation_failed'])
  const next = await submit(address, { prompt: '10ms' })
  assert.equal((await untilFinal(address, next.id)).status, 'succeeded')
  await waitFor(async () => workers.flatMap((worker) => worker.workers()).length === 2 + 5)
  await assertTruth(fleet, all, [id, next.id])
})

test('F14: out of memory is tried twice, each time with a fresh thread, and then told', async (t) => {
  const { all, fleet, address, workers } = await startFleet(t, [{ TEST_TELL: '1' }])
  const { id } = await submit(address, { prompt: 'memory' })
  const { status, error } = await untilFinal(address, id)
  assert.deepEqual([status, error?.code], ['failed', 'out_of_memory'])
  assert.match(error?.message ?? '', /more memory than the worker has/)
  const parts = await fleet.open()
  assert.equal((await parts.images.getManifest(id))?.attempts, 2)
  assert.equal(workers[0]?.output().split('engine begins "memory"').length, 1 + 2)
  // the stand-in's thread makes nothing more once its memory is full
  const next = await submit(address, { prompt: 'an apple' })
  assert.equal((await untilFinal(address, next.id)).status, 'succeeded')
  assert.equal((await parts.images.getManifest(next.id))?.attempts, 1)
  await assertTruth(fleet, all, [id, next.id])
})

/** One to three small damages: a byte changed, taken out or put in, a piece cut off or doubled. */
function mutilated(text: string, random: () => number): Buffer {
  let bytes = Buffer.from(text)
  const below = (limit: number) => Math.floor(random() * limit)
  const damages = [
    (at: number) => bytes.fill(below(256), at, Math.min(at + 1, bytes.length)),
    (at: number) => bytes.fill(32 + below(95), at, Math.min(at + 1, bytes.length)),
    (at: number) => Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1)]),
    (at: number) => Buffer.concat([bytes.subarray(0, at), Buffer.of(below(256)), bytes.subarray(at)]),
    (at: number) => bytes.subarray(0, at),
    (at: number) => Buffer.concat([bytes.subarray(0, at), bytes.subarray(at - below(at))]),
  ]
  const prompt = text.indexOf('a red apple')
  for (let left = 1 + below(3); left > 0; left -= 1) {
    const damage = damages[below(damages.length)]
    // half of them in the prompt, where a task may survive them
    const at = random() < 0.5 ? prompt + below(11) : below(bytes.length)
    bytes = damage?.(Math.max(0, Math.min(at, bytes.length - 1))) ?? bytes
  }
  return bytes
}

function parsed(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString())
  } catch {
    return undefined
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}

function areDates({ created_at, expires_at }: Task): boolean {
  return !Number.isNaN(Date.parse(created_at)) && !Number.isNaN(Date.parse(expires_at))
}
