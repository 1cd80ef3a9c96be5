import assert from 'node:assert/strict'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createClient } from '@redis/client'
import { connect } from '../../src/adapters/s3/connection.ts'
import { imageKey, manifestKey } from '../../src/adapters/s3/keys.ts'
import { bucketObjects } from '../../src/adapters/s3/objects.ts'
import { tempFolder } from '../cleanup.ts'
import type { FaultProxy } from '../fault-kit/proxy.ts'
import { stretched, waitFor } from '../kit/waiting.ts'
import { keepingLog } from '../quiet-log.ts'
import { submit, untilFinal, view } from '../service/server-process.ts'
import type { Services } from '../services/provide.ts'
import { services } from '../services/services.ts'
import { endWell, startCrew, untilRuns, untilSays } from './crew.ts'
import { type Fleet, prepareFleet } from './fleet.ts'
import { rawBroker } from './raw-broker.ts'
import { sha256Of } from './truth.ts'

/** F17, F18 and F28: storage that is unavailable, disconnects, loses data or was emptied. */

const slowDown = '<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>slow</Message></Error>'
const busyAnswer = `HTTP/1.1 503 Slow Down\r\ncontent-type: application/xml\r\ncontent-length: ${slowDown.length}\r\nconnection: close\r\n\r\n${slowDown}`

const away: [name: string, fault: (storage: FaultProxy) => void | Promise<void>][] = [
  [
    'answers SlowDown',
    (storage) => {
      storage.respond(busyAnswer)
      storage.cut()
    },
  ],
  ['refuses connections', (storage) => storage.refuse()],
  ['is a black hole', (storage) => storage.blackHole()],
]

async function start(t: TestContext, extra: Record<string, string> = {}, env: Record<string, string> = {}) {
  const all = await services()
  const fleet = await prepareFleet(t, all, extra)
  const gate = join(tempFolder(t), 'gate')
  const usual = { TEST_TELL: '1', TEST_GATE: gate }
  const crew = await startCrew(fleet, { servers: 1, workers: 1 }, { ...usual, ...env })
  const parts = await fleet.open()
  const [address] = crew.addresses
  const [worker] = crew.workers
  assert.ok(worker)
  const begun = () => worker.output().split('engine begins').length - 1
  const untilStep = (id: string) => waitFor(async () => (await view(address, id)).progress !== undefined)
  const openGate = () => writeFileSync(gate, '')
  const shutGate = () => rmSync(gate)
  return { all, fleet, crew, worker, address, parts, begun, untilStep, openGate, shutGate }
}

for (const [name, fault] of away) {
  test(`F17: storage that ${name} while jobs run costs nothing but time`, async (t) => {
    const { all, fleet, crew, worker, address, parts, begun, untilStep, openGate } = await start(t)
    const ids: string[] = []
    for (let n = 0; n < 3; n += 1) ids.push((await submit(address, { prompt: 'gate', seed: n })).id)
    await untilStep(ids[0] ?? '')
    await fault(fleet.storage)
    openGate()
    await untilSays(worker, 'engine made')
    // long enough for the picture to be offered several times
    await sleep(1500)
    await untilRuns(address, ids[0] ?? '')
    // the engine draws the next one while the picture is offered; where Redis was too slow to say that it is new, its
    // manifest has to be looked for first, and storage is away
    const isKnown = async () =>
      !worker.output().includes('The status store does not answer') &&
      (await parts.status.get(ids[1] ?? ''))?.status !== undefined
    if (await isKnown()) await waitFor(async () => begun() === 2 || !(await isKnown()))
    await sleep(500)
    assert.ok(begun() === 2 || !(await isKnown()), 'the next one is drawn')
    assert.ok(begun() <= 2, 'it takes no third task meanwhile')
    const raw = rawBroker(t, fleet, all.queueUrl)
    const [place = '', ...more] = Object.entries(await raw.ready()).map(
      ([queue, count]) => `${queue}: ${count}`,
    )
    // one that could not look for its manifest went back, and the third is about to be looked at
    const places = ['tasks.interactive.v1: 1', ...((await isKnown()) ? [] : ['tasks.retry.30s.v1: 1'])]
    assert.deepEqual([places.includes(place), more], [true, []], place)
    await fleet.storage.pass()
    for (const id of ids) assert.equal((await untilFinal(address, id)).status, 'succeeded')
    assert.equal(begun(), 3, 'the picture was kept')
    for (const id of ids) assert.equal((await parts.images.getManifest(id))?.attempts, 1)
    await endWell(fleet, all, crew, ids)
  })
}

test('F17: storage away for longer than a worker is patient: the job goes back uncounted', async (t) => {
  const storageRetry = { budgetMs: 1000, firstMs: 50, longestMs: 200 }
  const env = { TEST_PATIENCE: JSON.stringify({ storageRetry }) }
  const { all, fleet, crew, worker, address, parts, untilStep, openGate } = await start(t, {}, env)
  const { id } = await submit(address, { prompt: 'gate' })
  await untilStep(id)
  await fleet.storage.refuse()
  openGate()
  await untilSays(worker, 'storage is unavailable; the job is redelivered')
  // a Redis that answers too late costs a 503
  await waitFor(async () => {
    const answer = await fetch(`${address}/v1/jobs/${id}`)
    return answer.ok && /running|queued/.test(((await answer.json()) as { status: string }).status)
  })
  await fleet.storage.pass()
  const raw = rawBroker(t, fleet, all.queueUrl)
  await waitFor(async () => {
    // what the broker does by itself within half a minute
    await raw.move('tasks.retry.30s.v1', { exchange: 'tasks', routingKey: 'returned.interactive' })
    // a Redis that answers too late costs a 503
    const answer = await fetch(`${address}/v1/jobs/${id}`)
    return answer.ok && ((await answer.json()) as { status: string }).status === 'succeeded'
  })
  assert.equal((await parts.images.getManifest(id))?.attempts, 1)
  await endWell(fleet, all, crew, [id])
})

test('F18: a picture of which only a part was sent is not there, and is sent again whole', async (t) => {
  const { all, fleet, crew, address, parts, begun, untilStep, openGate, shutGate } = await start(t)
  const one = await submit(address, { prompt: 'big gate', seed: 1 })
  await untilStep(one.id)
  fleet.storage.throttle(100_000)
  // a megabyte takes ten seconds now
  const before = fleet.storage.carried()
  openGate()
  await waitFor(() => fleet.storage.carried() >= before + 200_000)
  await fleet.storage.refuse()
  assert.equal(await parts.images.getImage(one.id, 0, 'png'), undefined)
  assert.equal(await parts.images.getManifest(one.id), undefined)
  await untilRuns(address, one.id)
  await fleet.storage.pass()
  const whole = async (id: string) => {
    const { status, images } = await untilFinal(address, id)
    assert.equal(status, 'succeeded')
    const bytes = await parts.images.getImage(id, 0, 'png')
    assert.ok(bytes !== undefined && bytes.length > 1_000_000)
    assert.deepEqual([sha256Of(bytes), bytes.length], [images[0]?.sha256, images[0]?.bytes])
  }
  await whole(one.id)

  shutGate()
  const two = await submit(address, { prompt: 'big gate', seed: 2 })
  await untilStep(two.id)
  const accepted = fleet.storage.accepted()
  fleet.storage.cutAfter(300_000)
  fleet.storage.cut()
  openGate()
  await whole(two.id)
  assert.ok(fleet.storage.accepted() >= accepted + 2, 'the first connection was cut in the middle')
  assert.equal(begun(), 2)
  await endWell(fleet, all, crew, [one.id, two.id])
})

/** How long a result is kept that a test has to see while it is there. */
const lifeSeconds = (idle: number) => String(stretched(idle))

/** A picture's status codes until it is gone for good; and that none but 200 and 410 (or the given one) is among them. */
async function untilGone(address: string, url: string, before: number): Promise<void> {
  const statuses = new Set<number>()
  await waitFor(async () => {
    const { status } = await fetch(address + url, { redirect: 'manual' })
    statuses.add(status)
    return status === 410
  })
  assert.deepEqual([...statuses], [before, 410])
}

test('F28: a result that expires between status and download is gone, and never a fault of ours', async (t) => {
  const { crew, fleet, all, address, parts } = await start(t, { PACKSHOT_RESULT_TTL_SECONDS: lifeSeconds(8) })
  const { id } = await submit(address, { prompt: '10ms' })
  const { images, status } = await untilFinal(address, id)
  assert.equal(status, 'succeeded')
  await untilGone(address, images[0]?.url ?? '', 200)
  await waitFor(async () => {
    const answers = await Promise.all(
      [`/v1/jobs/${id}`, `/v1/jobs/${id}/images/0`].map((p) => fetch(address + p)),
    )
    assert.deepEqual(
      answers.map((answer) => answer.status),
      [410, 410],
    )
    // until the sweeper was there
    return (await parts.images.getImage(id, 0, 'png')) === undefined
  })
  await endWell(fleet, all, crew, [])
})

test('F28: an address of the storage itself works without credentials, and no longer than the result', async (t) => {
  const all = await services()
  const origin = new URL(all.s3Endpoint).origin
  const extra = { PACKSHOT_S3_PUBLIC_ENDPOINT: all.s3Endpoint, PACKSHOT_RESULT_TTL_SECONDS: lifeSeconds(10) }
  const { address } = await start(t, extra)
  const { id } = await submit(address, { prompt: '10ms' })
  const { images } = await untilFinal(address, id)
  const picture = `${address}${images[0]?.url}`
  const answer = await fetch(picture, { redirect: 'manual' })
  assert.equal(answer.status, 307)
  const location = answer.headers.get('location') ?? ''
  assert.equal(new URL(location).origin, origin)
  const direct = await fetch(location)
  assert.deepEqual([direct.status, direct.headers.get('content-type')], [200, 'image/png'])
  assert.equal(sha256Of(new Uint8Array(await direct.arrayBuffer())), images[0]?.sha256)
  const page = await fetch(address, { headers: { accept: 'text/html' } })
  const policy = page.headers.get('content-security-policy') ?? ''
  assert.ok(policy.includes(`img-src 'self' ${origin}`), policy)
  assert.equal((await fetch(`${picture}?download=1`)).status, 200)
  await untilGone(address, images[0]?.url ?? '', 307)
  assert.equal((await fetch(`${picture}?download=1`)).status, 410)
  await waitFor(async () => [403, 404].includes((await fetch(location)).status))
})

test('F28: what was deleted behind our back is gone, and never a fault of ours', async (t) => {
  const { all, fleet, address } = await start(t)
  const { id } = await submit(address, { prompt: '10ms' })
  await untilFinal(address, id)
  await deleteObject(fleet, all, imageKey(id, 0, 'png'))
  const picture = await fetch(`${address}/v1/jobs/${id}/images/0`)
  assert.deepEqual([picture.status, await codeOf(picture)], [410, 'expired'])
  assert.equal((await view(address, id)).status, 'succeeded', 'what it was is still known')

  await deleteObject(fleet, all, manifestKey(id))
  const job = await fetch(`${address}/v1/jobs/${id}`)
  assert.deepEqual([job.status, await codeOf(job)], [410, 'expired'])
  // with the status gone too nothing distinguishes it from a waiting job, until it expires
  const redis = createClient({ url: all.statusUrl })
  await redis.connect()
  await redis.del(`${fleet.namespace}:job:${id}`)
  redis.destroy()
  assert.equal((await view(address, id)).status, 'queued')
})

async function codeOf(response: Response): Promise<string> {
  return ((await response.json()) as { error: { code: string } }).error.code
}

async function deleteObject(fleet: Fleet, all: Services, key: string): Promise<void> {
  const { accessKeyId, secretAccessKey, region, s3Endpoint: endpoint, storageUrl } = all
  const url = `${storageUrl}/${fleet.namespace}`
  const credentials = { accessKeyId, secretAccessKey }
  const connection = connect({ url, endpoint, region, credentials, log: keepingLog() })
  await bucketObjects(connection).delete(key)
  connection.close()
}
