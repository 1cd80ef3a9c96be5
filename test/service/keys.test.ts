import assert from 'node:assert/strict'
import { chmodSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { runKeys } from '../../src/main/keys.ts'
import { ballPng } from '../browser/png.ts'
import { tempFolder } from '../cleanup.ts'
import { waitFor } from '../kit/waiting.ts'
import { openStream } from '../wire/event-stream.ts'
import { startServer } from './server-process.ts'

const png = Buffer.from(ballPng(64, 64))

/** Keys in the whole program, which follows its file. */

test('a running service follows the keys file, and its log has no secret', async (t) => {
  const folder = tempFolder(t)
  const path = join(folder, 'keys.json')
  const keys = async (...args: string[]) => {
    const out: string[] = []
    const around = {
      env: { PACKSHOT_KEYS_FILE: path },
      print: (line: string) => void out.push(line),
      complain() {},
    }
    assert.equal(await runKeys(args, around), 0)
    return out.join('')
  }
  const shop = await keys('add', 'shop')
  const server = startServer(t, {
    PACKSHOT_DATA_DIR: join(folder, 'data'),
    PACKSHOT_HOST: '0.0.0.0',
    PACKSHOT_KEYS_FILE: path,
    PACKSHOT_LOG_LEVEL: 'trace',
  })
  const { port } = new URL(await server.address)
  const post = async (authorization: string) => {
    const headers = { 'content-type': 'application/json', authorization }
    const body = '{"prompt":"an apple"}'
    return (await fetch(`http://127.0.0.1:${port}/v1/jobs`, { method: 'POST', headers, body })).status
  }
  const bearer = (key: string) => `Bearer ${key}`
  assert.equal((await fetch(`http://127.0.0.1:${port}/healthz/ready`)).status, 200)
  const basic = `Basic ${Buffer.from(`shop:${shop}`).toString('base64')}`
  const statuses = []
  for (const sent of [bearer(shop), basic, bearer(`${shop}x`), 'Bearer', bearer('pks_0123456789_')])
    statuses.push(await post(sent))
  assert.deepEqual(statuses, [202, 202, 401, 401, 401])

  const other = await keys('add', 'other')
  await waitFor(async () => (await post(bearer(other))) === 202)
  const good = readFileSync(path)
  writeFileSync(path, good.subarray(0, 100))
  await waitFor(() => /is not complete JSON\. The keys that were read before stay/.test(server.output()))
  assert.equal(await post(bearer(shop)), 202)
  writeFileSync(path, good)
  chmodSync(path, 0o644)
  await waitFor(() => /can be read by other users \(mode 644\)/.test(server.output()))
  assert.equal(await post(bearer(shop)), 202)
  chmodSync(path, 0o600)

  // what was begun or handed out with a key ends with it, also where the caller has another
  const address = `http://127.0.0.1:${port}`
  const second = await keys('rotate', 'shop', '--keep', '1d')
  await waitFor(async () => (await post(bearer(second))) === 202)
  const ask = async (url: string, key: string, body: object) => {
    const headers = { 'content-type': 'application/json', authorization: bearer(key) }
    const answer = await fetch(address + url, { method: 'POST', headers, body: JSON.stringify(body) })
    return (await answer.json()) as { id: string; upload_url: string; urls: { stream: string } }
  }
  const { id } = await ask('/v1/jobs', shop, { prompt: '1000ms', steps: 100 })
  const follow = (key: string) =>
    openStream(`${address}/v1/jobs/${id}/events`, { authorization: bearer(key) })
  const [ending, staying] = [await follow(shop), await follow(second)]
  const initiate = (key: string) =>
    ask('/fal/rest/storage/upload/initiate', key, { content_type: 'image/png', file_name: 'a.png' })
  const put = async ({ upload_url }: { upload_url: string }) =>
    (await fetch(upload_url, { method: 'PUT', headers: { 'content-type': 'image/png' }, body: png })).status
  const [granted, granted2] = [await initiate(shop), await initiate(second)]
  const { urls } = await ask('/v1/predictions', shop, {
    version: 'stand-in',
    input: { prompt: '1000ms', num_inference_steps: 100 },
    stream: true,
  })
  const stream = await openStream(urls.stream)
  await waitFor(() => [ending, staying, stream].every(({ text }) => text !== ''))

  await keys('disable', shop.split('_')[1] ?? '')
  await waitFor(async () => (await post(bearer(shop))) === 401)
  await waitFor(() => ending.ended && stream.ended)
  const last = ending.events().at(-1)
  assert.equal(last?.event, 'gone')
  assert.match(ending.text, /"code":"unauthorized"/)
  assert.equal(staying.ended, false)
  assert.deepEqual([await put(granted), await put(granted2)], [404, 200])
  assert.equal((await fetch(urls.stream)).status, 404)
  await keys('disable', 'shop')
  await waitFor(() => staying.ended)
  assert.equal(await post(bearer(other)), 202)

  assert.match(server.output(), /"caller":"shop","key":"\w{10}".*"msg":"job accepted"/)
  for (const key of [shop, other]) {
    assert.ok(!server.output().includes(key.slice(15)), 'no secret')
    assert.ok(!server.output().includes(Buffer.from(`shop:${key}`).toString('base64').slice(0, 40)))
  }
})

test('without keys or the word that it is open, the network is not served', async (t) => {
  const server = startServer(t, { PACKSHOT_DATA_DIR: tempFolder(t), PACKSHOT_HOST: '0.0.0.0' })
  assert.equal(await server.ended, 1)
  assert.match(server.output(), /^Packshot cannot start:\n {2}PACKSHOT_HOST=0\.0\.0\.0 would let everybody/)
})
