import assert from 'node:assert/strict'
import { test } from 'node:test'
import { exchange, listening, request } from '../../test/wire/raw.ts'
import { hostNames, isOwnName } from './hosts.ts'

test('localhost, addresses and allowed names are own names, and nothing that only looks like one', () => {
  const allowed = hostNames('Studio.example:8080, *.lan')
  for (const host of [
    'localhost',
    'LOCALHOST:8080',
    'localhost.',
    'a.localhost:1',
    '127.0.0.1',
    '10.0.0.7:8080',
    '[::1]:8080',
    'studio.example',
    'studio.example:99',
    'a.lan',
  ])
    assert.equal(isOwnName(host, allowed), true, host)
  for (const host of [
    '127.0.0.1.evil.example',
    'localhost.evil.example',
    'evillocalhost',
    'a.studio.example',
    'lan',
    'xlan',
    '0x7f.1',
    '2130706433',
    '127.1',
    'localhost@evil.example',
    'evil.example#localhost',
    '[::1',
    '[evil.example]',
    'localhost, evil.example',
    '',
  ])
    assert.equal(isOwnName(host, allowed), false, host)
})

test('a name of another site is refused on every address, health included, and in the target too', async (t) => {
  const { port } = await listening(t)
  for (const target of ['/', '/healthz/live', '/v1/models', '/openapi.json', '/nothing']) {
    const answer = await exchange(port, request('GET', target, [`Host: evil.example:${port}`]))
    assert.equal(answer.status, 421, target)
    assert.match(answer.body, /wrong_host|is not a name of this server/, target)
  }
  const absolute = (host: string, header: string) =>
    exchange(port, request('GET', `http://${host}/healthz/live`, [`Host: ${header}`]))
  assert.equal((await absolute('evil.example', 'localhost')).status, 421)
  assert.equal((await absolute('localhost', 'evil.example')).status, 200)
  assert.equal((await exchange(port, request('GET', '/healthz/live', ['Host: 10.1.2.3:8080']))).status, 200)
})

test('a browser gets a page that says which name was refused and what to set', async (t) => {
  const { port } = await listening(t)
  const headers = ['Host: studio.lan', 'Accept: text/html']
  const answer = await exchange(port, request('GET', '/', headers))
  assert.equal(answer.status, 421)
  assert.match(answer.headers, /text\/html/)
  assert.match(answer.body, /studio\.lan.*PACKSHOT_ALLOWED_HOSTS/s)
})

test('a missing, repeated or malformed host is 400 with the usual body', async (t) => {
  const { port } = await listening(t)
  for (const headers of [
    [],
    ['Host: localhost', 'Host: localhost'],
    ['Host: a', 'host: b'],
    ['Host: a b'],
    ['Host:'],
  ]) {
    const answer = await exchange(port, request('GET', '/healthz/live', headers))
    assert.equal(answer.status, 400, headers.join())
    assert.equal(JSON.parse(answer.body).error.param, 'host')
  }
  const old = await exchange(port, 'GET /healthz/live HTTP/1.0\r\n\r\n')
  assert.equal(old.status, 200, 'a health check of HTTP/1.0 has no host')
})

test('a trusted proxy answers for the names that it passes on, unless they are listed', async (t) => {
  const proxied = ['Host: studio.example', 'X-Forwarded-For: 203.0.113.9']
  const named = ['Host: 127.0.0.1:8080', 'X-Forwarded-Host: studio.example']
  const statuses = async (options: object) => {
    const { port } = await listening(t, options)
    const ask = async (headers: string[]) =>
      (await exchange(port, request('GET', '/healthz/live', headers))).status
    return [await ask(proxied), await ask(named)]
  }
  assert.deepEqual(await statuses({ trustedProxies: '127.0.0.1' }), [200, 200])
  assert.deepEqual(await statuses({ trustedProxies: '127.0.0.0/255.0.0.0' }), [200, 200])
  assert.deepEqual(await statuses({}), [421, 200], 'the headers of a stranger are not believed')
  assert.deepEqual(
    await statuses({ trustedProxies: '127.0.0.1', allowedHosts: 'studio.example' }),
    [200, 200],
  )
  assert.deepEqual(await statuses({ trustedProxies: '127.0.0.1', allowedHosts: 'other.example' }), [421, 421])
})
