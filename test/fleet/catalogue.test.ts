import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createClient } from '@redis/client'
import type { CatalogueView, ItemPage } from '../../src/jobs/catalogue/view.ts'
import { waitFor } from '../kit/waiting.ts'
import { filesOfZip } from '../kit/zip.ts'
import type { Services } from '../services/provide.ts'
import { services } from '../services/services.ts'
import { endWell, startCrew } from './crew.ts'
import { type Fleet, prepareFleet } from './fleet.ts'
import { sha256Of } from './truth.ts'

async function wipeStatuses(fleet: Fleet, { statusUrl }: Services): Promise<void> {
  const client = createClient({ url: statusUrl })
  client.on('error', () => {})
  await client.connect()
  for await (const keys of client.scanIterator({ MATCH: `${fleet.namespace}:*`, COUNT: 1000 })) {
    if (keys.length > 0) await client.del(keys)
  }
  client.destroy()
}

test('a catalogue run outlives its servers, its workers and every status: each picture once, the ZIP whole', async (t) => {
  const all = await services()
  const fleet = await prepareFleet(t, all)
  const env = { TEST_TELL: '1' }
  const crew = await startCrew(fleet, { servers: 2, workers: 2 }, env)
  const [first, second] = crew.addresses
  const rows = Array.from({ length: 20 }, (_, n) => ({ sku: `P-${n}`, prompt: `product ${n} 20ms` }))
  const answer = await fetch(`${first}/v1/catalogues`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ rows, variants: 2, name: '{sku}-{variant}' }),
  })
  assert.equal(answer.status, 202)
  const { links } = (await answer.json()) as CatalogueView

  let address = second ?? ''
  const untilMade = async (pictures: number) => {
    await waitFor(async () => {
      const polled = await fetch(address + links.self)
      if (polled.status === 503) return false
      const { counts, status } = (await polled.json()) as CatalogueView
      assert.deepEqual([counts.failed, counts.canceled], [0, 0])
      return counts.succeeded >= pictures && (pictures < 40 || status === 'finished')
    })
  }
  await untilMade(4)
  for (const program of [crew.servers[0], crew.workers[0]]) program?.process.kill('SIGKILL')
  await crew.servers[0]?.ended
  await untilMade(12)
  const [server, worker] = [fleet.server(env), fleet.worker(env)]
  address = await server.address
  await worker.address
  crew.servers[1]?.process.kill('SIGKILL')
  await wipeStatuses(fleet, all)
  await untilMade(40)

  const list = (await (await fetch(`${address}${links.rows}?limit=200`)).json()) as ItemPage
  const zip = filesOfZip(Buffer.from(await (await fetch(address + links.pictures)).arrayBuffer()))
  assert.deepEqual([...zip.keys()], [...list.rows.map(({ file }) => file), 'manifest.csv'])
  for (const { file, sha256 } of list.rows) assert.equal(sha256Of(zip.get(file) ?? Buffer.alloc(0)), sha256)
  assert.equal(new Set(list.rows.map(({ seed }) => seed)).size, 40)
  const accepted = list.rows.map(({ job = '' }) => job)
  const rest = {
    servers: [server],
    workers: [...crew.workers.slice(1), worker],
    addresses: [address] as const,
  }
  await endWell(fleet, all, rest, accepted)
})
