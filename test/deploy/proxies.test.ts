import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { get, request as plainRequest } from 'node:http'
import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import sharp from 'sharp'
import { loadConfig } from '../../src/config.ts'
import type { JobView } from '../../src/jobs/serving/job-view.ts'
import { type Cleanup, lastFirst, tempFolder } from '../cleanup.ts'
import { type Fleet, prepareFleet } from '../fleet/fleet.ts'
import { waitFor } from '../kit/waiting.ts'
import { type ServerProcess, startServer } from '../service/server-process.ts'
import { freePort } from '../services/free-port.ts'
import { services } from '../services/services.ts'
import { postOnNewConnection, startProxyLoad } from './load.ts'
import { type Front, proxyName, shipped, startHaproxy, startNginx } from './proxies.ts'
import { visitor } from './visitor.ts'

/** The configurations in deploy/, as they are shipped, in front of two real servers. */

const serverFile = new URL('../../src/main/server.ts', import.meta.url)

interface Stage {
  readonly fleet: Fleet
  readonly ports: readonly [number, number]
  readonly proxies: readonly Front[]
  readonly servers: ServerProcess[]
  readonly workers: ServerProcess[]
  startServer(index: number): ServerProcess
  startWorker(): ServerProcess
  /** While this file is not there, a job with the word `gate` stays where it is. */
  readonly gate: string
}

const ending: Cleanup = lastFirst({ after })
let stage: Stage

before(async () => {
  const ports = [await freePort(), await freePort()] as const
  const fleet = await prepareFleet(ending, await services(), {
    PACKSHOT_TRUSTED_PROXIES: '127.0.0.1',
    PACKSHOT_ALLOWED_HOSTS: proxyName,
    // more than the interval of HAProxy's health checks and nginx' keepalive_timeout
    PACKSHOT_DRAIN_SECONDS: '4',
    // a job in work goes back to the queue
    PACKSHOT_SHUTDOWN_SECONDS: '0',
    PACKSHOT_LOG_LEVEL: 'warn',
  })
  const gate = join(tempFolder(ending), 'gate')
  const begin = (index: number) =>
    startServer(ending, { ...fleet.direct, PORT: String(ports[index]) }, serverFile)
  const startWorker = () => fleet.worker({ ...fleet.direct, TEST_GATE: gate })
  const servers = [begin(0), begin(1)]
  const workers = [startWorker(), startWorker()]
  await Promise.all([...servers, ...workers].map(({ address }) => address))
  const proxies = await Promise.all([startNginx(ending, { ports }), startHaproxy(ending, { ports })])
  stage = { fleet, ports, proxies, servers, workers, startServer: begin, startWorker, gate }
})

const prompt = 'a red apple'

for (const [index, name] of ['nginx', 'HAProxy'].entries()) {
  const chosen = () => stage.proxies[index] as Front

  test(`${name}: the page over TLS and HTTP/2, each security header once, plain HTTP sent to TLS`, async () => {
    const proxy = chosen()
    const browser = visitor(proxy)
    for (const path of ['/', '/v1/models', '/v1/nothing']) {
      const { status, rawHeaders } = await browser.ask('GET', path)
      assert.equal(status, path === '/v1/nothing' ? 404 : 200)
      const names = rawHeaders.filter((_, at) => at % 2 === 0)
      for (const header of [
        'content-security-policy',
        'x-content-type-options',
        'referrer-policy',
        'permissions-policy',
        'strict-transport-security',
      ]) {
        assert.equal(names.filter((each) => each === header).length, 1, `${header} of ${path}`)
      }
    }
    assert.equal((await browser.ask('GET', '/healthz/load')).status, 404)
    browser.close()
    const redirected = await new Promise<{ status: number; location: string }>((resolve, reject) =>
      get(`http://127.0.0.1:${proxy.httpPort}/v1/models?x=1`, { headers: { host: proxyName } }, (answer) => {
        answer.resume()
        resolve({ status: answer.statusCode ?? 0, location: answer.headers.location ?? '' })
      }).once('error', reject),
    )
    assert.deepEqual(redirected, { status: 301, location: `https://${proxyName}/v1/models?x=1` })
  })

  test(`${name}: an upload of almost 10 MiB; larger ones are refused as Packshot does`, async () => {
    const browser = visitor(chosen())
    const picture = await noisyPicture()
    assert.ok(picture.length > 9.5 * 2 ** 20 && picture.length < 10 * 2 ** 20)
    const stored = await browser.ask('POST', '/v1/uploads', { body: picture })
    assert.equal(stored.status, 201, stored.body.toString())
    for (const mib of [11, 31]) {
      const refused = await browser.ask('POST', '/v1/uploads', { body: Buffer.alloc(mib * 2 ** 20) })
      assert.deepEqual([refused.status, refused.json<Fault>().error.code], [413, 'body_too_large'])
    }
    browser.close()
  })

  test(`${name}: each event of a stream arrives before the next one is made`, async () => {
    const browser = visitor(chosen())
    const { id } = (
      await browser.ask('POST', '/v1/jobs', { body: { prompt: 'gate', steps: 3 } })
    ).json<JobView>()
    const stream = await browser.follow(`/v1/jobs/${id}/events`)
    assert.equal(stream.status, 200)
    await waitFor(() => stream.text().includes('event: progress'))
    assert.doesNotMatch(stream.text(), /event: done/)
    assert.equal((await browser.ask('POST', `/v1/jobs/${id}/cancel`)).status, 200)
    await waitFor(() => stream.isEnded())
    assert.match(stream.text(), /event: done/)
    browser.close()
  })

  test(`${name}: what a stranger claims in headers is not believed, and two clients are two callers`, async (t) => {
    const { fleet, ports } = stage
    const opened = await fleet.open('server')
    const accountOf = async (ask: () => Promise<JobView>) =>
      (await opened.status.get((await ask()).id))?.account
    const through = (address: string, forged: string) => async () => {
      const browser = visitor(chosen(), address)
      lastFirst(t).after(() => browser.close())
      const headers = {
        'x-forwarded-for': forged,
        forwarded: `for=${forged};host=evil.example`,
        'x-forwarded-host': 'evil.example',
        'x-forwarded-proto': 'ftp',
        'x-forwarded-prefix': '/evil',
      }
      const answer = await browser.ask('POST', '/v1/jobs', { body: { prompt }, headers })
      assert.equal(answer.status, 202, answer.body.toString())
      const job = answer.json<JobView>()
      assert.equal(job.links.self, `/v1/jobs/${job.id}`)
      return job
    }
    const first = await accountOf(through('127.0.0.9', '203.0.113.1'))
    const direct = await accountOf(async () => postWithForwardedFor(ports[0], '127.0.0.9'))
    assert.notEqual(first, undefined)
    assert.equal(await accountOf(through('127.0.0.9', '203.0.113.2')), first)
    assert.equal(direct, first)
    assert.notEqual(await accountOf(through('127.0.0.10', '203.0.113.1')), first)
  })
}

test('under a path of the proxy, links and files begin with it', async (t) => {
  const { ports } = stage
  for (const start of [startNginx, startHaproxy]) {
    const proxy = await start(t, { ports, path: '/studio/' })
    const browser = visitor(proxy)
    lastFirst(t).after(() => browser.close())
    await waitFor(async () => (await browser.ask('GET', '/studio/')).status === 200)
    const page = (await browser.ask('GET', '/studio/')).body.toString()
    const [, style] = / href="([^"]+\.css)"/.exec(page) ?? []
    assert.match(style ?? '', /^\/studio\//)
    assert.equal((await browser.ask('GET', style ?? '')).status, 200)
    const posted = await browser.ask('POST', '/studio/v1/jobs', { body: { prompt } })
    const { links } = posted.json<JobView>()
    assert.match(links.self, /^\/studio\/v1\/jobs\//)
    assert.equal((await browser.ask('GET', links.self)).status, 200)
    const bare = await browser.ask('GET', '/studio')
    assert.equal(bare.status, 301)
    assert.match(String(bare.headers.location), /\/studio\/$/)
    assert.equal((await browser.ask('GET', '/v1/models')).status, 404)
    assert.equal((await browser.ask('GET', '/studio/healthz/load')).status, 404)
  }
})

test('a POST that a server may have had is never sent to another; one that reached none is', async (t) => {
  for (const start of [startNginx, startHaproxy]) {
    // the first takes a request and dies over it, which only it can know
    const dying = await rawServer(t, 'dies')
    const healthy = await rawServer(t, 'answers')
    const proxy = await start(t, { ports: [dying.port, healthy.port] })
    const browser = visitor(proxy)
    lastFirst(t).after(() => browser.close())
    const statuses: number[] = []
    // HTTP/1.1: over HTTP/2 HAProxy resets the stream instead, and the client may repeat the request by itself
    for (let seed = 0; dying.seeds.length === 0 || seed < 6; seed += 1) {
      statuses.push((await postOnNewConnection(proxy, { prompt, seed })).status)
    }
    const seeds = [...dying.seeds, ...healthy.seeds].sort((a, b) => a - b)
    assert.deepEqual(seeds, [...statuses.keys()], `each is sent once by ${proxy.name}: ${statuses}`)
    assert.equal(statuses.filter((status) => status === 502).length, dying.seeds.length)
    for (let n = 0; n < 6 && proxy.name === 'nginx'; n += 1) {
      assert.equal((await browser.ask('GET', `/v1/jobs/${n}`)).status, 200)
    }
    // nothing listens any more: every request is another server's
    await dying.stop()
    for (let seed = 1000; seed < 1006; seed += 1) {
      assert.equal((await browser.ask('POST', '/v1/jobs', { body: { prompt, seed } })).status, 200)
    }
  }
})

test('the proxies wait longer than the longest call and silence of Packshot', () => {
  const { holdSeconds, uploadMb, idleSeconds } = loadConfig({})
  const [nginx, haproxy] = [shipped('nginx/packshot.conf'), shipped('haproxy/haproxy.cfg')]
  const number = (text: string, pattern: RegExp) => Number(pattern.exec(text)?.[1])
  assert.ok(number(nginx, /proxy_read_timeout (\d+)s/) > holdSeconds)
  assert.ok(number(haproxy, /timeout server (\d+)s/) > holdSeconds)
  assert.equal(number(nginx, /client_max_body_size (\d+)m/), 3 * uploadMb)
  assert.equal(number(haproxy, /req.body_size gt (\d+)/), 3 * uploadMb * 2 ** 20)
  assert.equal(number(nginx, /client_body_timeout (\d+)s/), idleSeconds)
  assert.equal(number(haproxy, /timeout client (\d+)s/), idleSeconds)
  assert.doesNotMatch(nginx, /^[^#]*non_idempotent/m)
})

test('servers and workers are restarted one after the other under load: no request fails, no job is lost', async (t) => {
  const { proxies, servers, workers, ports, gate } = stage
  const load = startProxyLoad(t, proxies)
  await load.untilAnswered(3)
  for (const [index, port] of ports.entries()) {
    for (const proxy of proxies) await proxy.takeOut(port)
    servers[index]?.process.kill('SIGTERM')
    assert.equal(await servers[index]?.ended, 0, servers[index]?.output().slice(-4000))
    servers[index] = stage.startServer(index)
    await servers[index]?.address
    for (const proxy of proxies) await proxy.takeBack(port)
    await load.untilAnswered(3)
  }
  for (const [index, worker] of workers.entries()) {
    worker.process.kill('SIGTERM')
    assert.equal(await worker.ended, 0, worker.output().slice(-4000))
    workers[index] = stage.startWorker()
    await workers[index]?.address
  }
  writeFileSync(gate, '')
  const { failures, counts } = await load.stop()
  t.diagnostic(JSON.stringify(counts))
  assert.deepEqual(failures, [])
})

interface Fault {
  readonly error: { readonly code: string }
}

async function noisyPicture(): Promise<Buffer> {
  const side = 1845
  const raw = { width: side, height: side, channels: 3 } as const
  return sharp(randomBytes(side * side * 3), { raw })
    .png({ compressionLevel: 0 })
    .toBuffer()
}

/** As a proxy that the server trusts would. */
function postWithForwardedFor(port: number, address: string): Promise<JobView> {
  const headers = { host: proxyName, 'content-type': 'application/json', 'x-forwarded-for': address }
  return new Promise((resolve, reject) => {
    const sent = plainRequest(
      { host: '127.0.0.1', port, path: '/v1/jobs', method: 'POST', headers },
      (answer) => {
        let text = ''
        answer.setEncoding('utf8').on('data', (part) => {
          text += part
        })
        answer.once('end', () => resolve(JSON.parse(text)))
      },
    )
    sent.once('error', reject).end(JSON.stringify({ prompt }))
  })
}

/** Takes requests with `seed` in their body; `dies`: cuts the connection off without an answer, except for health checks. */
async function rawServer(t: Cleanup, kind: 'answers' | 'dies') {
  const seeds: number[] = []
  const server: Server = createServer((socket) => {
    let text = ''
    socket.on('error', () => {})
    socket.on('data', (chunk) => {
      text += chunk
      const [head = '', body = ''] = text.split('\r\n\r\n', 2)
      if (!text.includes('\r\n\r\n') || body.length < Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0))
        return
      text = ''
      const seed = /"seed":(\d+)/.exec(body)?.[1]
      if (seed !== undefined) seeds.push(Number(seed))
      // it read the request first, which a proxy may not take for a connection that was refused
      if (kind === 'dies' && !head.includes('/healthz/')) return void setTimeout(() => socket.destroy(), 200)
      return socket.end('HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}')
    })
  })
  const port = await freePort()
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  const stop = () => new Promise<void>((resolve) => server.close(() => resolve()))
  lastFirst(t).after(() => void server.close())
  return { port, seeds, stop }
}
