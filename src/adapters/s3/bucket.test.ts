import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import { createServer as createTcpServer } from 'node:net'
import { suite, type TestContext, test } from 'node:test'
import { lastFirst } from '../../../test/cleanup.ts'
import { someManifest, someTask } from '../../../test/contract/jobs.ts'
import { startProxy } from '../../../test/fault-kit/proxy.ts'
import { stretched, waitFor } from '../../../test/kit/waiting.ts'
import { keepingLog } from '../../../test/quiet-log.ts'
import { freshPlace, keysOf, opened } from '../../../test/services/fresh-place.ts'
import { storage } from '../../../test/services/services.ts'
import { type BucketOptions, openBucket } from './bucket.ts'
import { s3ImageStore } from './image-store.ts'

async function place(t: TestContext, log = keepingLog()): Promise<BucketOptions> {
  return { ...freshPlace(t, await storage(), log), startMs: 600 }
}

async function httpServer(t: TestContext, listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, '127.0.0.1')
  await once(server, 'listening')
  lastFirst(t).after(() => {
    server.closeAllConnections()
    server.close()
  })
  const address = server.address()
  return `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`
}

const refuses = (options: BucketOptions, param: string, message: RegExp) =>
  assert.rejects(openBucket(options), { name: 'AppError', code: 'unavailable', param, message })

suite('opening a bucket', () => {
  test('tries it and leaves nothing behind', async (t) => {
    const log = keepingLog()
    const bucket = await opened(t, await place(t, log))
    assert.equal(bucket.conditional, 'honoured')
    assert.deepEqual(await keysOf(bucket), [])
    assert.deepEqual(log.lines, [])
  })

  test('a URL that names no bucket', async (t) => {
    const options = await place(t)
    for (const url of [
      '',
      'pictures',
      'http://pictures',
      's3:/pictures',
      's3://',
      's3://key:secret@pictures',
    ]) {
      await refuses({ ...options, url }, 'PACKSHOT_STORAGE_URL', /^(?!.*secret).*s3:\/\/bucket/)
    }
    for (const name of ['ab', 'Pictures', 'a_b', '-ab', 'a..b', 'x'.repeat(64)]) {
      await refuses({ ...options, url: `s3://${name}` }, 'PACKSHOT_STORAGE_URL', new RegExp(`"${name}"`))
    }
    for (const prefix of ['a//b', '../a', './a', 'a b', 'a?b', '/a', 'x'.repeat(201)]) {
      await refuses({ ...options, url: `s3://pictures/${prefix}` }, 'PACKSHOT_STORAGE_URL', /prefix/)
    }
  })

  test('an endpoint that is no address', async (t) => {
    const options = await place(t)
    for (const endpoint of [
      '',
      'storage:9000',
      'ftp://storage',
      'http://key:secret@storage',
      'http://s/?a=1',
    ]) {
      await refuses({ ...options, endpoint }, 'PACKSHOT_S3_ENDPOINT', /^(?!.*secret).*http/)
      await refuses(
        { ...options, publicEndpoint: endpoint },
        'PACKSHOT_S3_PUBLIC_ENDPOINT',
        /^(?!.*secret).*http/,
      )
    }
  })

  test('storage that does not answer, or a name that nobody knows, is waited for', async (t) => {
    for (const [endpoint, reason] of [
      ['http://127.0.0.1:1', 'ECONNREFUSED'],
      ['http://storage.invalid', '(ENOTFOUND|EAI_AGAIN)'],
    ] as const) {
      const log = keepingLog()
      const told = new RegExp(`^The storage at .* does not answer \\(${reason}, tried for \\d+ seconds\\)`)
      // long enough for a second try, of which the line is about
      const startMs = stretched(1500)
      await refuses({ ...(await place(t)), endpoint, log, startMs }, 'PACKSHOT_S3_ENDPOINT', told)
      assert.match(log.lines[0]?.message ?? '', new RegExp(`^waiting for the storage at .*: ${reason}$`))
    }
  })

  test('storage that comes up late is used', async (t) => {
    const options = await place(t)
    const { hostname, port } = new URL(options.endpoint ?? '')
    const proxy = await startProxy(t, { host: hostname, port: Number(port) })
    await proxy.refuse()
    const log = keepingLog()
    const endpoint = `http://127.0.0.1:${proxy.port}`
    const opening = opened(t, { ...options, endpoint, startMs: 30_000, log })
    await waitFor(() => log.lines.length > 0)
    await proxy.pass()
    assert.equal((await opening).conditional, 'honoured')
  })

  test('a bucket that is missing', async (t) => {
    const told =
      /^The bucket not-there of PACKSHOT_STORAGE_URL does not exist .* `npm run storage -- setup` creates it\.$/
    await refuses({ ...(await place(t)), url: 's3://not-there/a' }, 'PACKSHOT_STORAGE_URL', told)
  })

  test('wrong keys, at once', async (t) => {
    const log = keepingLog()
    const options = { ...(await place(t, log)), startMs: 60_000 }
    const { accessKeyId } = await storage()
    const other = (id: string) => ({
      ...options,
      credentials: { accessKeyId: id, secretAccessKey: 'wrong-one' },
    })
    await refuses(other('nobody'), 'AWS_ACCESS_KEY_ID', /does not know the key in AWS_ACCESS_KEY_ID/)
    await refuses(other(accessKeyId), 'AWS_SECRET_ACCESS_KEY', /^(?!.*wrong-one).*AWS_SECRET_ACCESS_KEY/)
    assert.deepEqual(log.lines, [])
  })

  test('keys come from the environment, and their absence is told', async (t) => {
    const { credentials, ...options } = await place(t)
    const changes = {
      AWS_ACCESS_KEY_ID: undefined,
      AWS_SECRET_ACCESS_KEY: undefined,
      AWS_SHARED_CREDENTIALS_FILE: '/dev/null',
      AWS_CONFIG_FILE: '/dev/null',
      AWS_EC2_METADATA_DISABLED: 'true',
    }
    const before = Object.keys(changes).map((name) => [name, process.env[name]] as const)
    lastFirst(t).after(() => setEnvironment(before))
    setEnvironment(Object.entries(changes))
    await refuses(options, 'AWS_ACCESS_KEY_ID', /AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY/)
    setEnvironment([
      ['AWS_ACCESS_KEY_ID', credentials?.accessKeyId],
      ['AWS_SECRET_ACCESS_KEY', credentials?.secretAccessKey],
    ])
    assert.equal((await opened(t, options)).conditional, 'honoured')
  })

  test('servers that are no S3 storage', async (t) => {
    const log = keepingLog()
    const options = { ...(await place(t, log)), startMs: 60_000 }
    const page = (status: number, body: string) =>
      httpServer(t, (request, reply) => {
        request.resume()
        reply.writeHead(status, { 'content-type': 'text/html' }).end(body)
      })
    const told = /^The server at 127\.0\.0\.1:\d+ answers, but not like S3 storage/
    for (const status of [200, 302, 401, 403, 404, 405]) {
      for (const body of [
        '<html><body>Welcome<br></body></html>',
        '<html><body>Hi</body></html>',
        'hello',
        '',
      ]) {
        await refuses({ ...options, endpoint: await page(status, body) }, 'PACKSHOT_S3_ENDPOINT', told)
      }
    }
    const tcp = createTcpServer((socket) => {
      socket.on('error', () => {}).on('data', () => socket.end('-ERR unknown command\r\n'))
    }).listen(0, '127.0.0.1')
    await once(tcp, 'listening')
    lastFirst(t).after(() => tcp.close())
    const address = tcp.address()
    const endpoint = `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`
    await refuses({ ...options, endpoint }, 'PACKSHOT_S3_ENDPOINT', told)
    const https = options.endpoint?.replace('http:', 'https:')
    await refuses({ ...options, endpoint: https }, 'PACKSHOT_S3_ENDPOINT', /does not speak TLS/)
    assert.deepEqual(log.lines, [])
  })
})

test('a clock that is wrong is told, and does no harm', async (t) => {
  const log = keepingLog()
  const options = await place(t, log)
  const right = Date.now()
  t.mock.timers.enable({ apis: ['Date'], now: right + 20 * 60_000 })
  const bucket = await opened(t, { ...options, publicEndpoint: options.endpoint })
  const store = s3ImageStore(bucket, { ttlSeconds: 3600 })
  const task = someTask()
  await store.putImage(task.id, 0, 'png', Uint8Array.of(1))
  assert.deepEqual(await store.commit(someManifest(task)), await store.getManifest(task.id))
  assert.equal((await fetch((await store.addressOf(task.id, 0, 'png', 60)) ?? '')).status, 200)
  const warnings = () => log.lines.map(({ level, message }) => `${level}: ${message}`)
  assert.match(
    warnings().join('\n'),
    /^warn: the clock of this machine is 20 minutes ahead of .*correct the clock.*$/,
  )
  t.mock.timers.setTime(right)
  await store.putImage(task.id, 0, 'png', Uint8Array.of(2))
  assert.deepEqual([...((await store.getImage(task.id, 0, 'png')) ?? [])], [2])
  assert.match(warnings()[1] ?? '', /agrees with the storage's again/)
})

function setEnvironment(values: readonly (readonly [string, string | undefined])[]): void {
  for (const [name, value] of values) {
    if (value === undefined) delete process.env[name]
    else process.env[name] = value
  }
}
