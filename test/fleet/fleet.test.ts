import assert from 'node:assert/strict'
import { test } from 'node:test'
import { submit, untilFinal } from '../service/server-process.ts'
import { services } from '../services/services.ts'
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
