import assert from 'node:assert/strict'
import { test } from 'node:test'
import { tempFolder } from '../cleanup.ts'
import { exchange, request } from '../wire/raw.ts'
import { startServer, untilFinal } from './server-process.ts'

/** The settings that a proxy and strangers need, in the whole program. */

test('names of the server, clients and paths behind a proxy are treated as the settings say', async (t) => {
  const server = startServer(t, {
    PACKSHOT_DATA_DIR: tempFolder(t),
    PACKSHOT_HOST: '0.0.0.0',
    PACKSHOT_OPEN: '1',
    PACKSHOT_ALLOWED_HOSTS: 'studio.lan',
    PACKSHOT_TRUSTED_PROXIES: '127.0.0.1',
    PACKSHOT_JOBS_PER_MINUTE: '3',
    PACKSHOT_UPLOAD_MB: '1',
  })
  const port = Number(new URL(await server.address).port)
  const body = '{"prompt":"a red apple"}'
  const post = async (...headers: string[]) => {
    const length = `Content-Length: ${body.length}`
    const head = request('POST', '/v1/jobs', ['Content-Type: application/json', length, ...headers])
    return exchange(port, head + body)
  }
  const evil = await post('Host: evil.example', 'Origin: http://evil.example', 'Sec-Fetch-Site: same-origin')
  assert.equal(evil.status, 421)
  assert.match(server.output(), /"host":"evil.example".*request refused/)
  const statuses: number[] = []
  for (let n = 1; n <= 4; n += 1) {
    statuses.push((await post('Host: studio.lan', `X-Forwarded-For: 203.0.113.9:4000${n}`)).status)
  }
  assert.deepEqual(statuses, [202, 202, 202, 429])
  const other = await post('Host: 127.0.0.1', 'X-Forwarded-For: 198.51.100.7', 'X-Forwarded-Prefix: /studio')
  const { id, links } = JSON.parse(other.body) as { id: string; links: { self: string } }
  assert.equal(links.self, `/studio/v1/jobs/${id}`)
  await untilFinal(`http://127.0.0.1:${port}`, id)
  const picture = await fetch(`http://127.0.0.1:${port}/v1/jobs/${id}/images/0`)
  assert.equal(picture.headers.get('cache-control')?.startsWith('private'), true)
  assert.equal((await picture.bytes()).length, Number(picture.headers.get('content-length')))
})
