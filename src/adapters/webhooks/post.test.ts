import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { createServer } from 'node:net'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { lastFirst } from '../../../test/cleanup.ts'
import { startReceiver } from '../../../test/kit/receiver.ts'
import { waitFor } from '../../../test/kit/waiting.ts'
import { webhookRules } from '../../jobs/webhook-address.ts'
import { type PostOptions, webhookPost } from './post.ts'

const rules = webhookRules(['127.0.0.1'])
const message = { headers: { 'webhook-id': 'evt_1' }, body: '{"type":"job.succeeded"}' }

function poster(options: Partial<PostOptions> = {}) {
  const post = webhookPost({ rules, ...options })
  return (url: string, signal = new AbortController().signal) => post(url, { ...message, signal })
}

/** A receiver that speaks no HTTP of its own accord. */
async function rawReceiver(t: TestContext, serve: Parameters<typeof createServer>[1]): Promise<string> {
  const server = createServer(serve)
  const sockets = new Set<{ destroy(): void }>()
  server.on('connection', (socket) => {
    socket.on('error', () => {})
    sockets.add(socket)
  })
  lastFirst(t).after(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  return `http://127.0.0.1:${(server.address() as { port: number }).port}/`
}

test('a message arrives as it is, on a connection of its own', async (t) => {
  const receiver = await startReceiver(t)
  const post = poster()
  assert.deepEqual(await post(receiver.url), { status: 204 })
  assert.deepEqual(await post(receiver.url), { status: 204 })
  const [first] = receiver.messages
  assert.equal(first?.body, message.body)
  const { host, connection, ...others } = first?.headers ?? {}
  assert.deepEqual(others, { 'webhook-id': 'evt_1', 'content-length': '24' })
  assert.equal(connection, 'close')
})

test('proxies of the environment are not used, and cookies are not kept', async (t) => {
  const trap = await startReceiver(t)
  const receiver = await startReceiver(t, (response) =>
    response.writeHead(200, { 'set-cookie': 'a=b' }).end(),
  )
  const before = { ...process.env }
  lastFirst(t).after(() => {
    process.env = before
  })
  process.env = {
    ...before,
    NODE_USE_ENV_PROXY: '1',
    HTTP_PROXY: trap.url,
    http_proxy: trap.url,
    NO_PROXY: '',
  }
  const post = poster()
  for (let n = 0; n < 2; n += 1) await post(receiver.url)
  assert.deepEqual([trap.messages.length, receiver.messages.length], [0, 2])
  assert.equal(receiver.messages[1]?.headers.cookie, undefined)
})

test('a redirect is an answer like any other, and not followed', async (t) => {
  const trap = await startReceiver(t)
  for (const status of [301, 302, 303, 307, 308]) {
    const receiver = await startReceiver(t, (response) =>
      response.writeHead(status, { location: trap.url }).end(),
    )
    assert.equal((await poster()(receiver.url)).status, status)
  }
  assert.deepEqual(trap.messages, [])
})

test('Retry-After is read as seconds or a date, and nonsense is ignored', async (t) => {
  const answers = ['17', new Date(Date.now() + 60_000).toUTCString(), 'soon', '-5', '1e9']
  const receiver = await startReceiver(t, (response, n) =>
    response.writeHead(503, { 'retry-after': answers[n - 1] ?? '' }).end(),
  )
  const found: (number | undefined)[] = []
  for (const _ of answers) found.push((await poster()(receiver.url)).retryAfterSeconds)
  const [seconds, date, ...others] = found
  assert.equal(seconds, 17)
  assert.ok(date !== undefined && date > 0 && date <= 60)
  assert.deepEqual(others, [undefined, undefined, undefined])
})

test('an endless answer is read up to a bound, and a body that trickles until the time is over', async (t) => {
  let sent = 0
  const endless = await startReceiver(t, (response) => {
    response.writeHead(200)
    const chunk = Buffer.alloc(16_384)
    const more = () => {
      while (!response.destroyed && response.write(chunk)) sent += chunk.length
    }
    response.on('drain', more)
    more()
  })
  assert.equal((await poster({ totalMs: 600_000 })(endless.url)).status, 200)
  const after = sent
  await sleep(100)
  assert.ok(sent - after < 8 * 2 ** 20, 'it is no longer read')
  const trickle = await startReceiver(t, (response) => {
    response.writeHead(500).write('a')
    const timer = setInterval(() => response.write('a'), 20)
    response.on('close', () => clearInterval(timer))
  })
  assert.equal((await poster({ totalMs: 400 })(trickle.url)).status, 500)
})

test('a receiver that is silent, resets, trickles its headers, or sends endless ones is no answer', async (t) => {
  const short = poster({ totalMs: 400 })
  const silent = await startReceiver(t, () => {})
  await assert.rejects(short(silent.url))
  const reset = await startReceiver(t, (response) => response.socket?.resetAndDestroy())
  await assert.rejects(poster()(reset.url))
  const ended = await rawReceiver(t, (socket) => socket.end())
  await assert.rejects(poster()(ended))
  const drip = await rawReceiver(t, (socket) => {
    socket.write('HTTP/1.1 200 OK\r\n')
    const timer = setInterval(() => socket.write('a: b\r\n'), 20)
    socket.on('close', () => clearInterval(timer))
  })
  await assert.rejects(short(drip))
  const flood = await rawReceiver(t, (socket) => {
    socket.write('HTTP/1.1 200 OK\r\n')
    const line = `x: ${'y'.repeat(10_000)}\r\n`
    const more = () => {
      while (!socket.destroyed && socket.write(line));
    }
    socket.on('drain', more)
    more()
  })
  await assert.rejects(poster({ totalMs: 600_000 })(flood))
  const noise = await rawReceiver(t, (socket) => socket.end('SSH-2.0-OpenSSH_9.2\r\n'))
  await assert.rejects(poster()(noise))
  const upgrade = await rawReceiver(t, (socket) =>
    socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n'),
  )
  await assert.rejects(short(upgrade))
})

test('a TLS handshake that hangs ends with the time for the connection', async (t) => {
  const mute = await rawReceiver(t, () => {})
  const post = poster({ connectMs: 200, totalMs: 600_000 })
  await assert.rejects(post(mute.replace('http:', 'https:')), /No connection in time/)
})

test('what ends the process ends the request', async (t) => {
  const silent = await startReceiver(t, () => {})
  const stopping = new AbortController()
  const sent = poster({ totalMs: 600_000 })(silent.url, stopping.signal)
  await waitFor(() => silent.messages.length === 1)
  stopping.abort()
  await assert.rejects(sent)
})

test('the address is checked where the connection is made: one that changes gains nothing', async (t) => {
  const inside = await startReceiver(t)
  const asked: string[] = []
  const answers = [
    [{ address: '169.254.169.254', family: 4 }],
    [{ address: '127.0.0.1', family: 4 }],
    [{ address: '::ffff:127.0.0.1', family: 6 }],
    // one that is allowed beside one that is not
    [
      { address: '93.184.216.34', family: 4 },
      { address: '10.0.0.1', family: 4 },
    ],
    [],
  ]
  const post = poster({
    rules: webhookRules(),
    resolve: async (host) => {
      asked.push(host)
      return answers[asked.length - 1] ?? []
    },
  })
  for (const _ of answers) {
    await assert.rejects(post(`https://rebound.example.net:8443/`), /nothing may be sent|no address/)
  }
  assert.equal(asked.length, answers.length)
  // no name is looked up for an address, so it is checked apart
  for (const url of [inside.url, 'https://127.0.0.1:8443/', 'https://[::1]/', 'https://0x7f.1/'])
    await assert.rejects(post(url), /The address/)
  assert.equal(asked.length, answers.length)
  assert.deepEqual(inside.messages, [])
})

/** A DNS server that answers each question for an IPv4 address with the next of these, and has no IPv6 address. */
async function nameServer(t: TestContext, answers: readonly string[]): Promise<string> {
  const socket = createSocket('udp4')
  lastFirst(t).after(() => socket.close())
  let asked = 0
  socket.on('message', (question, { port, address }) => {
    const end = question.indexOf(0, 12) + 5
    const isFour = question.readUInt16BE(end - 4) === 1
    const reply = Buffer.from(question.subarray(0, end))
    reply.writeUInt16BE(0x8180, 2)
    reply.writeUInt16BE(isFour ? 1 : 0, 6)
    reply.writeUInt32BE(0, 8)
    const ip = (answers[isFour ? asked++ : 0] ?? '0.0.0.0').split('.').map(Number)
    const record = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, ...ip]
    socket.send(Buffer.concat([reply, Buffer.from(isFour ? record : [])]), port, address)
  })
  await new Promise<void>((done) => socket.bind(0, '127.0.0.1', done))
  return `127.0.0.1:${socket.address().port}`
}

test('a public name is resolved by DNS for every message, so a name server that changes its mind gains nothing', async (t) => {
  const inside = await startReceiver(t)
  const dnsServers = [await nameServer(t, ['127.0.0.1', '169.254.169.254', '127.0.0.1'])]
  const allowed: string[] = []
  const rules = {
    ...webhookRules(),
    faultOf: () => undefined,
    // the first look finds the receiver outside, as it were
    allows: (_url: URL, address: string) => allowed.push(address) === 1,
  }
  const post = poster({ rules, dnsServers })
  const url = `http://shop.example.net:${inside.port}/hook`
  assert.equal((await post(url)).status, 204)
  await assert.rejects(post(url), /169\.254\.169\.254, to which nothing may be sent/)
  const real = poster({ dnsServers })
  await assert.rejects(real('https://shop.example.net:8443/'), /127\.0\.0\.1, to which nothing may be sent/)
  assert.equal(inside.messages.length, 1)
})

test('a name that the operator lists may be at a private address', async (t) => {
  const receiver = await startReceiver(t)
  const post = poster({
    rules: webhookRules(['hooks.lan']),
    resolve: async () => [{ address: '127.0.0.1', family: 4 }],
  })
  assert.equal((await post(`http://hooks.lan:${receiver.port}/hook?a=b`)).status, 204)
  assert.equal(receiver.messages[0]?.path, '/hook?a=b')
  assert.equal(receiver.messages[0]?.headers.host, `hooks.lan:${receiver.port}`)
})
