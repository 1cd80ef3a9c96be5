import assert from 'node:assert/strict'
import { readdirSync, readlinkSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { test } from 'node:test'
import { pino } from 'pino'
import { type Cleanup, lastFirst } from '../../test/cleanup.ts'
import { embedded } from '../../test/jobs/embedded.ts'
import { stretched, waitFor } from '../../test/kit/waiting.ts'
import { answerOf, exchange, listening, request } from '../../test/wire/raw.ts'
import { buildHttp, type HttpDeps } from './app.ts'
import { createServices } from './services.ts'

const big = 20 * 2 ** 20

/** A server with one large upload on disk. */
async function withUpload(t: Cleanup, options: Partial<HttpDeps> = {}) {
  const parts = embedded(t)
  const id = parts.ids.uploads.issue(new Date())
  await parts.images.putUpload(id, Buffer.alloc(big))
  const app = await buildHttp({
    services: createServices(parts, () => true),
    log: pino({ level: 'silent' }),
    ...options,
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  lastFirst(t).after(() => {
    app.server.closeAllConnections()
    return app.close()
  })
  const { port } = app.server.address() as { port: number }
  return { port, target: `/v1/uploads/${id}`, server: app.server, folder: `${parts.folder}/results`, id }
}

/** Clients that ask and never read. */
function deaf(t: Cleanup, port: number, target: string, count: number, times = 1): Socket[] {
  const text = `GET ${target} HTTP/1.1\r\nHost: localhost\r\n\r\n`
  const sockets = Array.from({ length: count }, () => {
    const socket = connect(port, '127.0.0.1')
    socket.pause()
    socket.on('error', () => {})
    socket.write(text.repeat(times))
    return socket
  })
  lastFirst(t).after(() => {
    for (const socket of sockets) socket.destroy()
  })
  return sockets
}

/** The files below the folder that this process has open. */
function openFiles(folder: string): number {
  return readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith(folder)
    } catch {
      return false
    }
  }).length
}

test('clients that ask for a large file and never read it cost kilobytes each, and lose their connection', async (t) => {
  const idleMs = stretched(1000)
  const traffic = { idleMs, bytesPerSecond: 1000, bufferBytes: 2 ** 28 }
  const { port, target, server, folder } = await withUpload(t, { traffic })
  const before = process.memoryUsage()
  const sockets = deaf(t, port, target, 100)
  const connections = () =>
    new Promise<number>((done) => server.getConnections((_error, count) => done(count)))
  await waitFor(async () => (await connections()) === 100)
  await waitFor(() => openFiles(folder) >= 100 || sockets.some((socket) => socket.destroyed))
  const { arrayBuffers, external } = process.memoryUsage()
  const grown = arrayBuffers + external - before.arrayBuffers - before.external
  assert.ok(grown < 10 * big, `100 clients of ${big} bytes cost ${grown} bytes`)
  await waitFor(async () => (await connections()) === 0)
  await waitFor(() => openFiles(folder) === 0)
})

test('a client that reads gets the whole file; a tag or HEAD opens none', async (t) => {
  const { port, target, id } = await withUpload(t)
  const answer = await fetch(`http://127.0.0.1:${port}${target}`)
  assert.equal((await answer.arrayBuffer()).byteLength, big)
  assert.equal(answer.headers.get('content-length'), String(big))
  const headers = ['Host: localhost', `If-None-Match: "${id}"`]
  assert.equal((await exchange(port, request('GET', target, headers))).status, 304)
  const head = await exchange(port, request('HEAD', target, ['Host: localhost']))
  assert.match(head.headers, new RegExp(`content-length: ${big}`))
  assert.equal(head.body, '')
})

test('answers that wait unread never fill more than the memory for them: the oldest is ended', async (t) => {
  const traffic = { idleMs: 60_000, bytesPerSecond: 1, bufferBytes: 2.5 * big }
  const { url, port, studio, server } = await listening(t, { traffic })
  const body = Buffer.alloc(big)
  studio.uploaded = async () => ({ open: async () => ({ bytes: big, body }), expires_at: '2100-01-01' })
  deaf(t, port, '/v1/uploads/large', 12)
  const connections = () =>
    new Promise<number>((done) => server.getConnections((_error, count) => done(count)))
  await waitFor(async () => (await connections()) <= 3)
  assert.equal((await fetch(`${url}/healthz/live`)).status, 200)
  const read = await fetch(`${url}/v1/uploads/large`)
  assert.equal((await read.arrayBuffer()).byteLength, big, 'who reads is served')
})

test('requests in a row on one connection are bounded', async (t) => {
  const { port, target, folder } = await withUpload(t)
  deaf(t, port, target, 1, 500)
  await waitFor(() => openFiles(folder) > 0)
  assert.ok(openFiles(folder) <= 16, `${openFiles(folder)} files are open for one connection`)
  const socket = connect(port, '127.0.0.1')
  const ask = 'GET /healthz/live HTTP/1.1\r\nHost: localhost\r\n'
  socket.write(`${`${ask}\r\n`.repeat(300)}${ask}Connection: close\r\n\r\n`)
  const { headers, body } = await answerOf(socket)
  const statuses = [...(headers + body).matchAll(/http\/1\.1 (\d+)/gi)].map(([, status]) => status)
  assert.equal(statuses.length, 301)
  assert.deepEqual([...new Set(statuses)].sort(), ['200', '429'])
})

test('connections beyond the limits are told so; those of a trusted proxy count for all', async (t) => {
  const { port } = await listening(t, { connections: { all: 50, perAddress: 5 } })
  const idle = Array.from({ length: 5 }, () => connect(port, '127.0.0.1'))
  lastFirst(t).after(() => {
    for (const socket of idle) socket.destroy()
  })
  await Promise.all(idle.map((socket) => new Promise((done) => socket.once('connect', done))))
  const health = () => exchange(port, request('GET', '/healthz/live', ['Host: localhost']))
  const refused = await health()
  assert.deepEqual([refused.status, JSON.parse(refused.body).error.code], [503, 'unavailable'])
  assert.match(refused.headers, /retry-after/)
  idle[0]?.destroy()
  await waitFor(async () => (await health()).status === 200)
  const proxied = await listening(t, { connections: { all: 50, perAddress: 1 }, trustedProxies: '127.0.0.1' })
  deaf(t, proxied.port, '/healthz/live', 10)
  assert.equal(
    (await exchange(proxied.port, request('GET', '/healthz/live', ['Host: localhost']))).status,
    200,
  )
})
