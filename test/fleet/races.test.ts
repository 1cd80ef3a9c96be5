import assert from 'node:assert/strict'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { tempFolder } from '../cleanup.ts'
import { waitFor } from '../kit/waiting.ts'
import { submit, untilFinal, view } from '../service/server-process.ts'
import { startRedis } from '../services/redis.ts'
import { services } from '../services/services.ts'
import { cancelPatiently, endWell, post, startCrew } from './crew.ts'
import { prepareFleet } from './fleet.ts'
import { rawBroker } from './raw-broker.ts'
import { readStorage } from './truth.ts'

/**
 * F31 and F32: jobs that are over before a worker has them, and jobs that are ended twice in one moment. Callers that
 * send jobs before others.
 */

test('F31: jobs whose time is over are told as gone, and passed over without being made', async (t) => {
  const all = await services()
  const fleet = await prepareFleet(t, all, { PACKSHOT_RESULT_TTL_SECONDS: '4' })
  const server = fleet.server()
  const address: string = await server.address
  const late: string[] = []
  for (let n = 0; n < 20; n += 1) late.push((await submit(address, { prompt: '5000ms', seed: n })).id)
  const statusOf = async (id: string) => (await fetch(`${address}/v1/jobs/${id}`)).status
  await waitFor(async () => (await statusOf(late.at(-1) ?? '')) === 410)
  const raw = rawBroker(t, fleet, all.queueUrl)
  assert.deepEqual(await raw.ready(), { 'tasks.interactive.v1': 20 })
  const worker = fleet.worker({ TEST_TELL: '1' })
  await worker.address
  await waitFor(async () => Object.keys(await raw.ready()).length === 0)
  const passedOver = () => worker.output().split('job expired before a worker took it').length - 1
  await waitFor(() => passedOver() === 20)
  assert.doesNotMatch(worker.output(), /engine begins/)
  for (const id of late) assert.equal(await statusOf(id), 410)
  await endWell(fleet, all, { servers: [server], workers: [worker], addresses: [address] }, [])
})

test('F32: of two requests with one key in one moment one is refused, and the other gets its own picture', async (t) => {
  const all = await services()
  const messageKey = 'the message key of the tests, for all processes'
  const fleet = await prepareFleet(t, all, { PACKSHOT_MESSAGE_KEY: messageKey })
  const crew = await startCrew(fleet, { servers: 2, workers: 2 })
  const [one, two = one] = crew.addresses
  const ids: string[] = []
  const race = async (round: number) => {
    const headers = { 'idempotency-key': `one-key-of-round-${round}` }
    const ask = (address: string, prompt: string) => post(address, { prompt, seed: round }, headers)
    const answers = await Promise.all([ask(one, 'a red apple'), ask(two, 'a green bottle')])
    const refused = answers.filter(({ status }) => status !== 202)
    // what stands is known to Redis: where it does not answer for seconds, both are accepted, see reliability.md
    const isSlow = crew.servers.some(({ output }) =>
      output().includes('writing the status of a new job failed'),
    )
    if (refused.length === 0 && isSlow) return void ids.push(answers[0].body.id)
    assert.deepEqual(
      refused.map(({ status, body }) => [status, body.error?.code]),
      [[422, 'idempotency_key_reused']],
    )
    const accepted = answers.find(({ status }) => status === 202)?.body
    const id = accepted?.id ?? ''
    ids.push(id)
    const told = answers[0]?.status === 202 ? 'a red apple' : 'a green bottle'
    assert.equal((await untilFinal(one, id)).request?.prompt, told)
    const again = await ask(two, told)
    assert.deepEqual([again.status, again.body.id], [202, id])
  }
  for (let round = 0; round < 15; round += 1) await race(round)
  await endWell(fleet, all, crew, ids)
})

test('F32: of a cancellation and a finish in one moment one wins, and everybody says the same', async (t) => {
  const all = await services()
  const fleet = await prepareFleet(t, all)
  const crew = await startCrew(fleet, { servers: 2, workers: 2 })
  const [one, two = one] = crew.addresses
  const cancel = (id: string) => cancelPatiently(two, id)
  const ids: string[] = []
  const winners = new Map<string, number>()
  const race = async (seed: number) => {
    const { id } = await submit(one, { prompt: '20ms', seed })
    ids.push(id)
    await waitFor(async () => (await view(one, id)).status !== 'queued')
    await sleep(Math.random() * 100)
    const answer = await cancel(id)
    const final = await untilFinal(one, id)
    assert.ok(final.status === 'succeeded' || final.status === 'canceled', final.status)
    // the final status reported to the canceling client does not change
    if (answer.status !== 'queued' && answer.status !== 'running') assert.equal(answer.status, final.status)
    assert.deepEqual(await cancel(id), final)
    winners.set(final.status, (winners.get(final.status) ?? 0) + 1)
  }
  for (let n = 0; n < 50; n += 2) await Promise.all([race(n), race(n + 1)])
  t.diagnostic(JSON.stringify(Object.fromEntries(winners)))

  // by another server than the one that was asked for it, a job ends with the pictures that are done
  const { id: several } = await submit(one, { prompt: '50ms', steps: 40, count: 4 })
  ids.push(several)
  await waitFor(async () => ((await view(one, several)).progress?.step ?? 0) > 40)
  const stopped = await cancelPatiently(two, several, { keep: true })
  assert.equal(stopped.status, 'running')
  const { status, images, notes } = await untilFinal(one, several)
  assert.equal(status, 'succeeded')
  assert.ok(images.length >= 1 && images.length <= 3, `${images.length} pictures`)
  assert.deepEqual(notes, [`It was stopped: ${images.length} of 4 pictures are done.`])
  assert.equal((await fetch(`${two}${images[0]?.url}`)).status, 200)
  const parts = await fleet.open()
  for (const id of ids) {
    const manifest = await parts.images.getManifest(id)
    let told: string | undefined
    const isTold = async () => {
      told = (await parts.status.get(id))?.status
      return told === manifest?.status
    }
    await waitFor(isTold).catch(() => assert.equal(told, manifest?.status, id))
  }
  await endWell(fleet, all, crew, ids, { stopped: [several] })
})

test('callers are served in turn, whatever each sent before, and Redis emptied loses nothing', async (t) => {
  const redis = await startRedis(t)
  const all = { ...(await services()), statusUrl: redis.url }
  const fleet = await prepareFleet(t, all, { PACKSHOT_TRUSTED_PROXIES: '127.0.0.1' })
  const gate = join(tempFolder(t), 'gate')
  const crew = await startCrew(fleet, { servers: 1, workers: 2 }, { TEST_GATE: gate })
  const [address] = crew.addresses
  const ids: string[] = []
  const submitAs = async (from: string, count: number, prompt = '1ms') => {
    const sent: string[] = []
    for (let seed = 0; seed < count; seed += 1) {
      const { status, body } = await post(address, { prompt, seed }, { 'x-forwarded-for': from })
      assert.equal(status, 202)
      sent.push(body.id)
    }
    ids.push(...sent)
    return sent
  }
  const bothWork = async (held: readonly string[]) => {
    for (const id of held) await waitFor(async () => (await view(address, id)).status === 'running')
  }
  const [heavy, other, light] = ['192.0.2.1', '192.0.2.2', '192.0.2.3']
  const held = await submitAs(heavy, 2, 'an apple behind a gate')
  await bothWork(held)
  const many = await submitAs(heavy, 60)
  const some = await submitAs(other, 20)
  const [one = ''] = await submitAs(light, 1)
  let place = 99
  // none is told while Redis does not answer in time
  await waitFor(async () => {
    const { position } = await view(address, one)
    place = position ?? place
    return position !== undefined
  })
  assert.ok(place <= 5, `behind two workers and a job of each caller, not ${place}`)
  writeFileSync(gate, '')
  for (const id of ids) await untilFinal(address, id)

  const { manifests } = await readStorage(fleet, all)
  const startOf = (id: string) => manifests.get(id)?.started_at ?? ''
  const before = (id: string, of: readonly string[]) =>
    of.filter((each) => startOf(each) < startOf(id)).length
  const earlier = before(one, [...many, ...some])
  // where Redis does not answer in time callers may share a lane
  if (!crew.servers[0]?.output().includes('choosing a lane failed')) {
    assert.ok(earlier <= 5, `among the next workers and callers: ${earlier} were before it`)
    // each of the two workers alternates between the two callers that have many
    for (const [n, id] of some.entries()) {
      const ofMany = before(id, many)
      assert.ok(Math.abs(ofMany - n) <= 4, `${ofMany} of the one before ${n} of the other`)
    }
  }

  rmSync(gate)
  await bothWork(await submitAs(heavy, 2, 'an apple behind a gate'))
  await submitAs(heavy, 10)
  await redis.cli('FLUSHALL')
  await Promise.all([submitAs(heavy, 3), submitAs(other, 3), submitAs(light, 3)])
  writeFileSync(gate, '')
  await endWell(fleet, all, crew, ids)
})
