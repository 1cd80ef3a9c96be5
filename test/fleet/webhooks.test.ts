import assert from 'node:assert/strict'
import type { ServerResponse } from 'node:http'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { Webhook } from 'standardwebhooks'
import { lastFirst, tempFolder } from '../cleanup.ts'
import { failPointVariable, webhookPoints } from '../fault-kit/fail-points.ts'
import { type Receiver, startReceiver } from '../kit/receiver.ts'
import { waitFor } from '../kit/waiting.ts'
import { submit, untilFinal } from '../service/server-process.ts'
import { services } from '../services/services.ts'
import { endInPeace, endWell, startCrew } from './crew.ts'
import { prepareFleet } from './fleet.ts'

/** F27: receivers of webhooks that fail in every way, and servers that die on the way to them. */

const hosts = { PACKSHOT_WEBHOOK_HOSTS: '127.0.0.1' }

async function start(t: TestContext, workers = 1) {
  const all = await services()
  const fleet = await prepareFleet(t, all, hosts)
  const crew = await startCrew(fleet, { servers: 1, workers })
  const [address] = crew.addresses
  return { all, fleet, crew, address }
}

async function secretOf(address: string): Promise<string> {
  return ((await (await fetch(`${address}/v1/webhooks/secret`)).json()) as { key: string }).key
}

/** Every message is signed, and about a job of its own id. */
async function assertMessages(address: string, receiver: Receiver, ids: readonly string[]): Promise<void> {
  const verifier = new Webhook(await secretOf(address))
  const told = receiver.messages.map(({ body, headers }) => {
    const { data } = verifier.verify(body, headers as Record<string, string>) as { data: { id: string } }
    return `${data.id} ${headers['webhook-id']}`
  })
  const expected = ids.map((id) => `${id} evt_${id.slice(0, 26)}_succeeded`)
  assert.deepEqual([...new Set(told)].toSorted(), expected.toSorted())
}

const triesOf = async (address: string, id: string) => {
  const response = await fetch(`${address}/v1/jobs/${id}/webhooks`)
  const { tries } = (await response.json()) as { tries?: { status?: number }[] }
  return tries?.map(({ status }) => status) ?? []
}

test('F27: a server killed at each step between the end of a job and its webhook leaves it to another, with the same id', async (t) => {
  const { all, fleet, crew, address } = await start(t, 0)
  const markers = tempFolder(t)
  const receiver = await startReceiver(t)
  const ids: string[] = []
  for (const _ of webhookPoints)
    ids.push((await submit(address, { prompt: 'a red apple', webhook: receiver.url })).id)
  await endInPeace(...crew.servers)
  const worker = fleet.worker()
  for (const point of webhookPoints) {
    const server = fleet.server({ [failPointVariable]: `${point}|${join(markers, point)}` })
    assert.equal(await server.ended, 'SIGKILL', `dies at "${point}": ${server.output().slice(-2000)}`)
  }
  const server = fleet.server()
  const now = await server.address
  await waitFor(() => new Set(receiver.messages.map(({ body }) => body)).size === ids.length)
  await assertMessages(now, receiver, ids)
  await endWell(fleet, all, { servers: [server], workers: [worker], addresses: [now] }, ids)
})

test('F27: receivers that are slow, gone or dead delay no status and no other, and a dead one gets its messages when it is there', async (t) => {
  const { all, fleet, crew, address } = await start(t)
  const held: ServerResponse[] = []
  const slow = await startReceiver(t, (response) => void held.push(response))
  const gone = await startReceiver(t, (response) => response.writeHead(410).end())
  const dead = await startReceiver(t)
  await dead.close()
  const quick = await startReceiver(t)
  const send = async (receiver: Receiver) =>
    (await submit(address, { prompt: 'a red apple', webhook: receiver.url })).id
  const ids = { slow: [] as string[], quick: [] as string[], gone: [] as string[] }
  for (let n = 0; n < 8; n += 1) {
    ids.slow.push(await send(slow))
    if (n % 4 === 0) ids.gone.push(await send(gone))
    ids.quick.push(await send(quick))
  }
  const every = Object.values(ids).flat()
  for (const id of every) assert.equal((await untilFinal(address, id)).status, 'succeeded')
  await waitFor(() => quick.messages.length === ids.quick.length)
  // as many at once as one receiver gets, and the others wait
  assert.ok(slow.messages.length <= 4 && held.length <= 4, `${slow.messages.length} at once`)
  await assertMessages(address, quick, ids.quick)
  const late = await send(dead)
  await waitFor(async () => (await triesOf(address, late)).length > 0)
  const alive = await startReceiver(t, undefined, dead.port)
  const release = setInterval(() => {
    for (const response of held.splice(0)) response.writeHead(204).end()
  }, 50)
  lastFirst(t).after(() => clearInterval(release))
  await waitFor(() => alive.messages.length > 0)
  await assertMessages(address, alive, [late])
  await waitFor(async () => (await triesOf(address, late)).at(-1) === 204)
  await waitFor(() => new Set(slow.messages.map(({ body }) => body)).size === ids.slow.length)
  assert.equal(gone.messages.length, 1)
  await endWell(fleet, all, crew, [...every, late])
})
