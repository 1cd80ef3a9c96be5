import assert from 'node:assert/strict'
import { chmodSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { runKeys } from '../../src/main/keys.ts'
import { waitFor } from '../kit/waiting.ts'
import { tempFolder } from '../temp-folder.ts'
import { startServer } from './server-process.ts'

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
  await keys('disable', 'shop')
  await waitFor(async () => (await post(bearer(shop))) === 401)
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
