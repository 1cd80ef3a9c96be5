import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { lastFirst } from '../../test/cleanup.ts'
import { stretched, waitFor } from '../../test/kit/waiting.ts'
import { answerOf, listening } from '../../test/wire/raw.ts'

/** As clients do that read only when all is sent. */
async function sendAll(port: number, head: readonly string[], bytes: number, times = 1) {
  const statuses = new Set<number>()
  for (let i = 0; i < times; i += 1) {
    const socket = connect(port, '127.0.0.1')
    socket.pause()
    const length = [`Content-Length: ${bytes}`, 'Connection: close']
    const text = `${[...head, 'Host: localhost', ...length].join('\r\n')}\r\n\r\n`
    socket.write(text)
    const sent = await new Promise<Error | null | undefined>((done) => {
      socket.once('error', done)
      socket.write(Buffer.alloc(bytes, 'a'), done)
    })
    assert.ok(sent == null, `the connection ended while the body was sent: ${sent}`)
    statuses.add((await answerOf(socket)).status)
  }
  return [...statuses]
}

test('a client that reads only after it has sent everything gets the answer that came early', async (t) => {
  const { port } = await listening(t)
  const json = 'Content-Type: application/json'
  const cases: [head: string[], bytes: number, status: number][] = [
    [['POST /v1/jobs HTTP/1.1', json], 20e6, 413],
    [['POST /v1/uploads HTTP/1.1', 'Content-Type: image/png'], 15e6, 413],
    [['POST /jobs HTTP/1.1', 'Content-Type: application/x-www-form-urlencoded'], 4e6, 413],
    [['POST /v1/jobs HTTP/1.1', 'Content-Type: text/plain'], 8e6, 415],
    [['POST /v1/uploads HTTP/1.1', 'Content-Type: image/gif'], 8e6, 415],
    [['POST /nothing HTTP/1.1', json], 8e6, 404],
    [['PUT /v1/jobs HTTP/1.1', json], 8e6, 405],
    [['POST /v1/jobs HTTP/1.1', json, 'Content-Encoding: gzip'], 8e6, 415],
    [['POST /v1/jobs HTTP/1.1', json, 'Sec-Fetch-Site: cross-site'], 8e6, 403],
    [['GET /healthz/live HTTP/1.1'], 8e6, 200],
  ]
  for (const [head, bytes, status] of cases) {
    assert.deepEqual(await sendAll(port, head, bytes, 3), [status], head.join())
  }
})

test('the same with fetch, with a length and in chunks', async (t) => {
  const { url } = await listening(t)
  const headers = { 'content-type': 'application/json' }
  for (let i = 0; i < 3; i += 1) {
    const whole = await fetch(`${url}/v1/jobs`, { method: 'POST', headers, body: Buffer.alloc(8e6, 'a') })
    assert.equal(whole.status, 413)
    assert.match(await whole.text(), /body_too_large/)
    const chunks = ReadableStream.from(
      (function* () {
        for (let n = 0; n < 80; n += 1) yield Buffer.alloc(1e5, 'a')
      })(),
    )
    const chunked = await fetch(`${url}/v1/jobs`, { method: 'POST', headers, body: chunks, duplex: 'half' })
    assert.equal(chunked.status, 413)
  }
})

test('after an answer that came early the connection serves the next request', async (t) => {
  const { port } = await listening(t)
  const socket = connect(port, '127.0.0.1')
  const type = 'Content-Type: application/json'
  socket.write(`POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\n${type}\r\nContent-Length: 1000000\r\n\r\n`)
  socket.write(Buffer.alloc(1e6, 'a'))
  socket.write('GET /healthz/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')
  const { body } = await answerOf(socket)
  assert.match(body, /body_too_large[\s\S]*HTTP\/1\.1 200/)
})

/** Sends a body in pieces, one each `everyMs`, until it is sent or the server answers. */
async function trickle(port: number, type: string, { piece = 1000, pieces = 1000, everyMs = 20 }) {
  const socket = connect(port, '127.0.0.1')
  const answer = answerOf(socket)
  let over = false
  answer.then(() => (over = true))
  const length = piece * pieces
  socket.write(
    `POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: ${type}\r\nConnection: close\r\nContent-Length: ${length}\r\n\r\n`,
  )
  for (let n = 0; n < pieces && !over && socket.writable; n += 1) {
    socket.write(Buffer.alloc(piece, ' '))
    await sleep(everyMs)
  }
  return { answer: await answer, sentAll: socket.bytesWritten >= length }
}

test('a body that keeps moving may take longer than the limit for silence, one that stands or trickles not', async (t) => {
  const idleMs = stretched(300)
  const { port } = await listening(t, { traffic: { idleMs, bytesPerSecond: 2000, bufferBytes: 2 ** 28 } })
  const began = performance.now()
  // a tenth of a second a piece, four times the limit in all
  const slow = await trickle(port, 'application/json', { piece: 1000, pieces: 40, everyMs: idleMs / 10 })
  assert.ok(performance.now() - began > 3 * idleMs)
  assert.equal(slow.answer.status, 400, 'it was read to its end: blanks are no JSON')
  const trickled = await trickle(port, 'application/json', { piece: 1, pieces: 1000, everyMs: idleMs / 10 })
  assert.deepEqual([trickled.answer.status, trickled.sentAll], [408, false])
  assert.equal(JSON.parse(trickled.answer.body).error.code, 'too_slow')
  const silent = await trickle(port, 'application/json', { piece: 1000, pieces: 2, everyMs: 3 * idleMs })
  assert.equal(silent.answer.status, 408)
})

test('a connection without a request, and headers that never end, are closed', async (t) => {
  const idleMs = stretched(300)
  const { port } = await listening(t, { traffic: { idleMs, bytesPerSecond: 2000, bufferBytes: 2 ** 28 } })
  const silent = connect(port, '127.0.0.1')
  const endless = connect(port, '127.0.0.1')
  endless.write('GET / HTTP/1.1\r\nHost: localhost\r\n')
  let sent = 0
  const timer = setInterval(() => endless.writable && endless.write(`x${sent++}: 1\r\n`), idleMs / 10)
  lastFirst(t).after(() => clearInterval(timer))
  const answers = await Promise.all([answerOf(silent), answerOf(endless)])
  assert.equal(answers[1].status, 408)
  assert.equal(JSON.parse(answers[1].body).error.code, 'too_slow')
})

test('a client that reads an answer drop by drop loses it', async (t) => {
  const idleMs = stretched(500)
  const { port, studio, server } = await listening(t, {
    traffic: { idleMs, bytesPerSecond: 50_000_000, bufferBytes: 2 ** 28 },
  })
  const body = Buffer.alloc(40 * 2 ** 20)
  studio.uploaded = async () => ({
    open: async () => ({ bytes: body.length, body }),
    expires_at: '2100-01-01',
  })
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  socket.pause()
  const timer = setInterval(() => socket.read(16_384), idleMs / 20)
  lastFirst(t).after(() => clearInterval(timer))
  socket.write('GET /v1/uploads/x HTTP/1.1\r\nHost: localhost\r\n\r\n')
  const connections = () =>
    new Promise<number>((done) => server.getConnections((_error, count) => done(count)))
  await waitFor(async () => (await connections()) === 1)
  await waitFor(async () => (await connections()) === 0)
  assert.ok(socket.bytesRead < body.length)
})

test('a stream of events may be silent for any time; what it sends must be read', async (t) => {
  const idleMs = stretched(300)
  const { url, studio } = await listening(t, {
    traffic: { idleMs, bytesPerSecond: 50_000_000, bufferBytes: 2 ** 28 },
  })
  const { id } = await studio.submit({ prompt: 'a red apple' })
  const happens = Promise.withResolvers<void>()
  const view = await studio.view(id)
  const more = { ...view, status: 'running' as const, notes: ['x'.repeat(40 * 2 ** 20)] }
  studio.follow = async function* () {
    yield view
    await happens.promise
    yield more
    await new Promise(() => {})
  }
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  socket.on('error', () => {})
  const ended = new Promise<void>((done) => socket.once('close', () => done()))
  socket.write(`GET /v1/jobs/${id}/events HTTP/1.1\r\nHost: localhost\r\n\r\n`)
  await new Promise((done) => socket.once('readable', done))
  await sleep(4 * idleMs)
  assert.match(String(socket.read()), /event: status[\s\S]*queued/)
  happens.resolve()
  // nothing of it is read, until the server has closed the connection
  await waitFor(() => socket.readableLength > 0)
  await sleep(4 * idleMs)
  socket.resume()
  await ended
  assert.ok(socket.bytesRead < 40 * 2 ** 20)
})
