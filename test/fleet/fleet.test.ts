import assert from 'node:assert/strict'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { runKeys } from '../../src/main/keys.ts'
import { tempFolder } from '../cleanup.ts'
import { lint, metricsOf, readExposition, scrape } from '../kit/exposition.ts'
import { waitFor } from '../kit/waiting.ts'
import { submit, untilFinal } from '../service/server-process.ts'
import { services } from '../services/services.ts'
import { type OpenStream, openStream } from '../wire/event-stream.ts'
import { prepareFleet } from './fleet.ts'

test('jobs sent to any server are made by any worker and answered by every server', async (t) => {
  const fleet = await prepareFleet(t, await services())
  const [one, two] = [fleet.server(), fleet.server()]
  const workers = [fleet.worker(), fleet.worker()]
  const addresses = await Promise.all([one.address, two.address])
  await Promise.all(workers.map((worker) => worker.address))
  const jobs = []
  for (let n = 0; n < 10; n += 1) {
    jobs.push(await submit(addresses[n % 2] as string, { prompt: '20ms', seed: n }))
  }
  for (const [n, { id }] of jobs.entries()) {
    const view = await untilFinal(addresses[(n + 1) % 2] as string, id)
    assert.deepEqual([view.status, view.images[0]?.seed], ['succeeded', n], view.error?.message)
    const picture = await fetch(`${addresses[n % 2]}${view.images[0]?.url}`)
    assert.equal(picture.status, 200)
    assert.equal((await picture.arrayBuffer()).byteLength, view.images[0]?.bytes)
  }
  for (const { process } of [one, two, ...workers]) process.kill('SIGTERM')
  assert.deepEqual(await Promise.all([one, two, ...workers].map(({ ended }) => ended)), [0, 0, 0, 0])
})

test('a job is followed on every server, whichever gets its event, with Redis away, and until a server stops', async (t) => {
  const fleet = await prepareFleet(t, await services())
  // each job stands behind its first step until all have seen it there
  const gate = join(tempFolder(t), 'gate')
  const servers = [fleet.server(), fleet.server()]
  const worker = fleet.worker({ TEST_GATE: gate })
  const addresses = await Promise.all(servers.map(({ address }) => address))
  await worker.address
  const [here = ''] = addresses
  const follow = async (body: object) => {
    const { id } = await submit(here, body)
    return Promise.all(addresses.map((address) => openStream(`${address}/v1/jobs/${id}/events`)))
  }
  const untilDone = async (streams: readonly OpenStream[]) => {
    await waitFor(() => streams.every(({ ended }) => ended))
    for (const stream of streams) {
      const last = stream.events().at(-1)
      assert.deepEqual([last?.event, last?.data.status], ['done', 'succeeded'], stream.text)
    }
  }

  const streams = await follow({ prompt: 'gate', steps: 6, previews: 2 })
  await waitFor(() => streams.every((stream) => stream.events().some(({ event }) => event === 'preview')))
  const previews = streams.map((stream) => stream.events().find(({ event }) => event === 'preview'))
  for (const [index, address] of addresses.entries()) {
    const preview = await fetch(`${address}${previews[index]?.data.url}`)
    // it may have been the last
    assert.ok(preview.status === 404 || /^preview of seed/.test(await preview.text()))
  }
  writeFileSync(gate, '')
  await untilDone(streams)
  rmSync(gate)
  assert.ok(streams.every((stream) => stream.events().some(({ event }) => event === 'progress')))

  const away = await follow({ prompt: 'gate', steps: 5 })
  await waitFor(() => away.every((stream) => stream.events().some(({ event }) => event === 'progress')))
  await fleet.redis.refuse()
  writeFileSync(gate, '')
  await untilDone(away)
  rmSync(gate)
  await fleet.redis.pass()

  const open = await follow({ prompt: 'gate' })
  servers[1]?.process.kill('SIGTERM')
  await waitFor(() => open[1]?.ended)
  assert.match(open[1]?.text ?? '', /: the server stops\n\n$/)
  assert.equal(await servers[1]?.ended, 0)
  assert.equal(open[0]?.ended, false)
})

test("all servers have one keys file and count one caller's jobs together; another's job is nowhere", async (t) => {
  const folder = tempFolder(t)
  const path = join(folder, 'keys.json')
  const keys = async (...args: string[]) => {
    const out: string[] = []
    const around = { env: { PACKSHOT_KEYS_FILE: path }, print: (line: string) => void out.push(line) }
    assert.equal(await runKeys(args, { ...around, complain() {} }), 0)
    return out.join('').trim()
  }
  const [shop, other] = [await keys('add', 'shop', '--jobs-per-minute', '3'), await keys('add', 'other')]
  const fleet = await prepareFleet(t, await services(), { PACKSHOT_KEYS_FILE: path })
  const servers = [fleet.server(), fleet.server()]
  const [here = '', there = ''] = await Promise.all(servers.map(({ address }) => address))
  const ask = (address: string, key: string, path = '/v1/jobs', method = 'POST') =>
    fetch(`${address}${path}`, {
      method,
      headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
      ...(method === 'POST' ? { body: '{"prompt":"an apple"}' } : {}),
    })
  const answers = []
  for (const address of [here, there, here, there, here]) answers.push(await ask(address, shop))
  assert.deepEqual(
    answers.map(({ status }) => status),
    [202, 202, 202, 429, 429],
  )
  assert.match(answers[3]?.headers.get('retry-after') ?? '', /^[1-9]/)
  assert.equal((await ask(there, other)).status, 202)

  const self = answers[0]?.headers.get('location') ?? ''
  for (const address of [here, there]) {
    const statuses = [await ask(address, shop, self, 'GET'), await ask(address, other, self, 'GET')]
    assert.deepEqual(
      statuses.map(({ status }) => status),
      [200, 404],
    )
  }
  const listed = (await (await ask(there, shop, '/v1/jobs', 'GET')).json()) as { jobs: object[] }
  assert.equal(listed.jobs.length, 3)

  await keys('disable', 'shop')
  for (const address of [here, there])
    await waitFor(async () => (await ask(address, shop, self, 'GET')).status === 401)
  assert.equal((await ask(here, other, self, 'GET')).status, 404)
})

test('every server tells the same of the queue; what does not answer is said to be down, and hides the queue', async (t) => {
  const fleet = await prepareFleet(t, await services(), { PACKSHOT_METRICS_PORT: '0' })
  const gate = join(tempFolder(t), 'gate')
  const servers = [fleet.server(), fleet.server()]
  const worker = fleet.worker({ TEST_GATE: gate })
  const [address = ''] = await Promise.all(servers.map((server) => server.address))
  await worker.address
  const all = [...servers, worker].map(({ output }) => metricsOf(output()) ?? '')
  const [one = '', two = '', ofWorker = ''] = all
  const work = { prompt: 'gate', steps: 4, width: 512, height: 512 }
  const ids: string[] = []
  for (const priority of ['interactive', 'interactive', 'batch'] as const) {
    ids.push((await submit(address, { ...work, priority })).id)
  }
  const value = async (at: string, name: string, labels = {}) =>
    (await scrape(at)).value(`packshot_${name}`, labels)
  await waitFor(async () => (await value(ofWorker, 'worker_busy')) === 1)
  for (const at of [one, two]) {
    const jobs = (name: string) => value(at, 'queue_jobs', { class: name })
    await waitFor(async () => (await jobs('interactive')) === 2 && (await jobs('batch')) === 1)
    // no picture was made yet: a unit counts as a second
    const units = (4 * 2 * 512 * 512) / 1e6
    assert.equal(await value(at, 'queue_work_seconds', { class: 'batch' }), units)
    assert.equal(await value(at, 'queue_consumers'), 1)
    assert.ok(((await value(at, 'queue_oldest_seconds', { class: 'batch' })) ?? 0) > 0)
    for (const name of ['queue', 'status', 'storage'])
      assert.equal(await value(at, 'dependency_up', { name }), 1)
  }
  const { text } = await scrape(ofWorker)
  lint(text)
  assert.deepEqual(readExposition(text).labelsOf('role'), ['worker'])

  const up = (at: string, name: string) => value(at, 'dependency_up', { name })
  const hidden = ['queue_jobs', 'queue_work_seconds', 'queue_oldest_seconds', 'queue_consumers']
  for (const [name, proxy, fault] of [
    ['status', fleet.redis, 'refuse'],
    ['queue', fleet.broker, 'blackHole'],
  ] as const) {
    await proxy[fault]()
    for (const at of all) await waitFor(async () => (await up(at, name)) === 0)
    const { value: told } = await scrape(one)
    for (const each of hidden)
      assert.equal(told(`packshot_${each}`), undefined, `${each} without the ${name}`)
    await proxy.pass()
    for (const at of all) await waitFor(async () => (await up(at, name)) === 1)
    await waitFor(async () => (await value(two, 'queue_jobs')) !== undefined)
  }
  await fleet.storage.refuse()
  for (const at of all) await waitFor(async () => (await up(at, 'storage')) === 0)
  assert.notEqual(await value(one, 'queue_jobs'), undefined)
  await fleet.storage.pass()

  writeFileSync(gate, '')
  for (const id of ids) assert.equal((await untilFinal(address, id)).status, 'succeeded')
  await waitFor(async () => (await value(one, 'queue_jobs')) === 0)
  await waitFor(async () => (await value(ofWorker, 'attempts_total', { outcome: 'done' })) === 3)
  const ended = 'jobs_finished_total'
  assert.equal(await value(ofWorker, ended, { status: 'succeeded', class: 'batch' }), 1)
  for (const at of all.slice(0, 2)) assert.equal(await value(at, ended), undefined)
  for (const { process } of [...servers, worker]) process.kill('SIGTERM')
  assert.deepEqual(await Promise.all([...servers, worker].map(({ ended: end }) => end)), [0, 0, 0])
})
