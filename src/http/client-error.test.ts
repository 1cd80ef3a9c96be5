import assert from 'node:assert/strict'
import { test } from 'node:test'
import { exchange, listening, request } from '../../test/wire/raw.ts'

const host = 'Host: localhost'
const json = ['Content-Type: application/json', 'Content-Length: 2']

test('whatever is wrong with a request, the answer has a status, the usual body and a type', async (t) => {
  // some answers come before a body that never does: the rest is waited for this long
  const { port } = await listening(t, { traffic: { idleMs: 300, bytesPerSecond: 1, bufferBytes: 2 ** 28 } })
  const many = Array.from({ length: 300 }, (_, index) => `x${index}: 1`)
  const faults: [text: string, status: number][] = [
    [request('POST', '/v1/jobs', [host, ...json, 'Expect: magic']), 417],
    [request('GET', '/healthz/live', []), 400],
    [request('GET', '/healthz/live', [host, `X: ${'x'.repeat(20_000)}`]), 431],
    [request('GET', `/${'x'.repeat(20_000)}`, [host]), 431],
    [request('GET', '/healthz/live', [host, ...many]), 400],
    [request('CONNECT', 'evil.example:443', [host]), 405],
    ['nonsense\r\n\r\n', 400],
    [request('GET', '/healthz/live', [host, 'a b: c']), 400],
    [request('GET', '/healthz/live', [host, 'X: a\rb']), 400],
    // smuggling: what two programs would read differently is read by none
    [request('POST', '/v1/jobs', [host, ...json, 'Transfer-Encoding: chunked']), 400],
    [request('POST', '/v1/jobs', [host, 'Content-Length: 2', 'Content-Length: 3']), 400],
    [request('POST', '/v1/jobs', [host, 'Content-Length: +2']), 400],
    [request('POST', '/v1/jobs', [host, 'Transfer-Encoding: chunked, identity']), 400],
    [
      request('POST', '/v1/jobs', [
        host,
        'Content-Type: application/json',
        'Transfer-Encoding: gzip, chunked',
      ]),
      415,
    ],
    [
      `${request('POST', '/v1/jobs', [host, 'Content-Type: application/json', 'Transfer-Encoding: chunked'])}zz\r\n`,
      400,
    ],
  ]
  for (const [text, status] of faults) {
    const answer = await exchange(port, text)
    assert.equal(answer.status, status, text.slice(0, 200))
    assert.match(answer.headers, /content-type: application\/json/)
    assert.equal(typeof JSON.parse(answer.body).error.message, 'string')
  }
})

test('what a page of another site makes a browser send to the API is refused', async (t) => {
  const { url, studio } = await listening(t)
  const send = (method: string, path: string, site: string) =>
    fetch(url + path, {
      method,
      headers: { 'sec-fetch-site': site, 'content-type': 'application/json' },
      ...(method === 'POST' && { body: '{"prompt":"a"}' }),
    })
  for (const [method, path] of [
    ['POST', '/v1/jobs'],
    ['POST', '/v1/uploads'],
    ['DELETE', '/v1/jobs/x'],
  ] as const) {
    const answer = await send(method, path, 'cross-site')
    assert.equal(answer.status, 403)
    assert.match(await answer.text(), /cross_site/)
  }
  assert.equal(studio.submitted, 0)
  assert.equal((await send('POST', '/v1/jobs', 'same-origin')).status, 202)
  assert.equal((await send('GET', '/v1/models', 'cross-site')).status, 200)
})
