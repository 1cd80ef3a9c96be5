import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { lastFirst } from '../cleanup.ts'
import { waitFor } from '../kit/waiting.ts'
import { startProxy } from './proxy.ts'

/** A server that sends everything back and closes when the client does. */
async function echo(t: TestContext) {
  const seen = { bytes: 0, ended: 0, reset: 0 }
  const open = new Set<Socket>()
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    open.add(socket)
    socket.on('data', (data) => {
      seen.bytes += data.length
      socket.write(data)
    })
    socket.on('end', () => {
      seen.ended += 1
      socket.end()
    })
    socket.on('error', () => {
      seen.reset += 1
    })
    socket.on('close', () => open.delete(socket))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  lastFirst(t).after(() => {
    for (const socket of open) socket.destroy()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return { seen, proxy: await startProxy(t, { host: '127.0.0.1', port }) }
}

function dial(t: TestContext, port: number) {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  let text = ''
  let code: string | undefined
  socket.setEncoding('latin1')
  socket.on('data', (data) => {
    text += data
  })
  socket.on('error', (error: NodeJS.ErrnoException) => {
    code = error.code
  })
  lastFirst(t).after(() => socket.destroy())
  return {
    socket,
    text: () => text,
    /** The code of the error that ended it, or nothing when it was closed in peace. */
    closed: async () => {
      if (!socket.closed) await once(socket, 'close').catch(() => once(socket, 'close'))
      return code
    },
    says: async (words: string) => {
      text = ''
      const started = performance.now()
      socket.write(words)
      while (text.length < words.length) await once(socket, 'data', { signal: AbortSignal.timeout(60_000) })
      assert.equal(text, words)
      return performance.now() - started
    },
  }
}

test('passes bytes and both ends of a connection', async (t) => {
  const { seen, proxy } = await echo(t)
  const client = dial(t, proxy.port)
  await client.says('x'.repeat(3_000_000))
  assert.equal(proxy.connections(), 1)
  client.socket.end('bye')
  await once(client.socket, 'end')
  assert.equal(await client.closed(), undefined)
  assert.ok(client.text().endsWith('bye'), 'what was sent before the end came back after it')
  assert.equal(seen.ended, 1)
})

test('cut resets both sides and lets new connections in', async (t) => {
  const { seen, proxy } = await echo(t)
  const client = dial(t, proxy.port)
  await client.says('one')
  proxy.cut()
  assert.equal(await client.closed(), 'ECONNRESET')
  await dial(t, proxy.port).says('two')
  assert.deepEqual([seen.reset, proxy.connections(), proxy.accepted()], [1, 1, 2])
})

test('refuse closes the port until pass', async (t) => {
  const { proxy } = await echo(t)
  const client = dial(t, proxy.port)
  await client.says('one')
  await proxy.refuse()
  assert.equal(await client.closed(), 'ECONNRESET')
  assert.equal(await dial(t, proxy.port).closed(), 'ECONNREFUSED')
  await proxy.pass()
  await dial(t, proxy.port).says('two')
})

test('a black hole keeps connections and loses bytes and closes', async (t) => {
  const { seen, proxy } = await echo(t)
  const [quiet, speaking] = [dial(t, proxy.port), dial(t, proxy.port)]
  await quiet.says('one')
  await speaking.says('one')
  proxy.blackHole()
  const late = dial(t, proxy.port)
  late.socket.write('lost')
  speaking.socket.end('lost')
  await sleep(200)
  assert.deepEqual([seen.bytes, seen.ended, seen.reset, late.text()], [6, 0, 0, ''])
  assert.deepEqual(
    [quiet, speaking, late].map(({ socket }) => socket.destroyed),
    [false, false, false],
  )
  await proxy.pass()
  assert.deepEqual([await speaking.closed(), await late.closed()], ['ECONNRESET', 'ECONNRESET'])
  await quiet.says('a connection on which nothing was lost goes on')
})

test('delay is latency, not bandwidth', async (t) => {
  const { proxy } = await echo(t)
  const client = dial(t, proxy.port)
  await client.says('one')
  proxy.delay(150)
  const says = async () => {
    const took = await client.says('x'.repeat(500_000))
    assert.ok(took >= 299, `there and back with 150 ms each way took ${took} ms`)
    return took
  }
  // of several times one is that short, on a slow machine too; eight pieces one after the other never are
  await waitFor(async () => (await says()) < 1500)
})

test('throttle limits an existing connection, and pass frees it at once', async (t) => {
  const { proxy } = await echo(t)
  const client = dial(t, proxy.port)
  proxy.throttle(10_000)
  const took = await client.says('x'.repeat(5000))
  assert.ok(took >= 500, `5000 bytes at 10000 bytes a second took ${took} ms`)
  proxy.throttle(100)
  const words = client.says('x'.repeat(100_000))
  await sleep(100)
  await proxy.pass()
  assert.ok((await words) < 900_000, 'at 100 bytes a second it takes 1000 seconds')
})

test('cutAfter lets exactly that many bytes of the next connection through', async (t) => {
  const { seen, proxy } = await echo(t)
  const before = dial(t, proxy.port)
  await before.says('one')
  proxy.cutAfter(100_000)
  const client = dial(t, proxy.port)
  client.socket.write('x'.repeat(300_000))
  assert.match((await client.closed()) ?? '', /ECONNRESET|EPIPE/)
  await before.says('two')
  await dial(t, proxy.port).says('three')
  assert.equal(seen.bytes, 100_000 + 'onetwothree'.length)
})

test('respond answers HTTP in place of the target', async (t) => {
  const { seen, proxy } = await echo(t)
  proxy.respond('HTTP/1.1 503 Slow Down\r\ncontent-length: 8\r\nconnection: close\r\n\r\nSlowDown')
  const address = `http://127.0.0.1:${proxy.port}/bucket/key`
  const response = await fetch(address, { method: 'PUT', body: 'x'.repeat(500_000) })
  assert.deepEqual([response.status, await response.text(), seen.bytes], [503, 'SlowDown', 0])
})

test('a target that is down resets the client', async (t) => {
  const proxy = await startProxy(t, { host: '127.0.0.1', port: 9 })
  const client = dial(t, proxy.port)
  assert.equal(await client.closed(), 'ECONNRESET')
})
