import assert from 'node:assert/strict'
import { createServer, type IncomingHttpHeaders, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type TestContext, test } from 'node:test'
import { lastFirst } from '../../../test/cleanup.ts'
import { keepingLog } from '../../../test/quiet-log.ts'
import { freshPlace, opened } from '../../../test/services/fresh-place.ts'
import { storage } from '../../../test/services/services.ts'
import { openBucket } from './bucket.ts'

/** A proxy in front of the storage. Returns its address. */
async function proxy(
  t: TestContext,
  storageUrl: string,
  change: { readonly path?: (path: string) => string; readonly headers?: IncomingHttpHeaders },
): Promise<string> {
  const { hostname, port } = new URL(storageUrl)
  const server = createServer((incoming, answer) => {
    const path = change.path?.(incoming.url ?? '/') ?? incoming.url
    const headers = { ...incoming.headers, ...change.headers }
    request({ hostname, port, path, headers, method: incoming.method }, (response) => {
      answer.writeHead(response.statusCode ?? 502, response.headers)
      response.pipe(answer)
    }).end()
  })
  return listening(t, server)
}

async function listening(t: TestContext, server: ReturnType<typeof createServer>): Promise<string> {
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  lastFirst(t).after(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

test('an address for browsers at which the storage refuses signatures is refused by its variable', async (t) => {
  const options = await freshPlace(t, await storage(), keepingLog())
  const inside = options.endpoint ?? ''
  const faithful = await proxy(t, inside, {})
  await opened(t, { ...options, publicEndpoint: faithful })
  const prefixed = await proxy(t, inside, { path: (path) => path.replace('/s3', '') })
  const otherHost = await proxy(t, inside, { headers: { host: new URL(inside).host } })
  const elsewhere = await proxy(t, inside, { path: (path) => `/elsewhere${path}` })
  for (const publicEndpoint of [`${prefixed}/s3`, otherHost, elsewhere]) {
    await assert.rejects(openBucket({ ...options, publicEndpoint }), (thrown: Error & { param?: string }) => {
      assert.equal(thrown.param, 'PACKSHOT_S3_PUBLIC_ENDPOINT')
      assert.match(thrown.message, /refuses signed addresses at http.*PACKSHOT_S3_PUBLIC_ENDPOINT/)
      return true
    })
  }
  await assert.rejects(openBucket({ ...options, publicEndpoint: otherHost }), /proxy_set_header Host/)
})

test('an address for browsers that this machine cannot use is a warning', async (t) => {
  const log = keepingLog()
  const options = await freshPlace(t, await storage(), log)
  const login = await listening(
    t,
    createServer((_, answer) => void answer.end('<html>Sign in')),
  )
  for (const publicEndpoint of [login, 'http://127.0.0.1:1', 'http://pictures.invalid']) {
    await opened(t, { ...options, publicEndpoint })
    assert.match(
      log.lines.at(-1)?.message ?? '',
      /^PACKSHOT_S3_PUBLIC_ENDPOINT cannot be used from this machine/,
    )
  }
  assert.equal(log.lines.length, 3)
})
