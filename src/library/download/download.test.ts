import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { lastFirst, tempFolder } from '../../../test/cleanup.ts'
import { breakOff, type Served, send, serve } from '../../../test/models/file-server.ts'
import { DownloadError } from './addresses.ts'
import { type DownloadOptions, download } from './download.ts'

const bytes = Buffer.alloc(300_000, 'all that is in the file. ')
const other = Buffer.alloc(300_000, 'quite another file. ')
const hashOf = (data: Uint8Array) => createHash('sha256').update(data).digest('hex')
const patience = { tries: 3, firstMs: 1, longestMs: 5, stallMs: 2000 }

async function attempt(
  t: TestContext,
  answer: (served: Served) => void,
  options: Partial<DownloadOptions> & { file?: string } = {},
) {
  const { address, requests, client } = await serve(t, answer)
  client.bytes = 0
  const onProgress = (done: number) => {
    client.bytes = done
  }
  const path = join(tempFolder(t), 'x.partial')
  const url = `${address}/files/x.safetensors`
  const run = () => download({ url, path, patience, onProgress, ...options })
  return { run, path, requests, url }
}

const words = (pattern: RegExp) => (thrown: unknown) => {
  assert.ok(thrown instanceof DownloadError, String(thrown))
  assert.match(thrown.message, pattern)
  return true
}

test('a file arrives whole, with its hash and its name', async (t) => {
  const { run, path } = await attempt(t, (served) => send(served, bytes))
  assert.deepEqual(await run(), { sha256: hashOf(bytes), bytes: bytes.length, fileName: 'x.safetensors' })
  assert.deepEqual(readFileSync(path), bytes)
  assert.ok(!existsSync(`${path}.json`), 'nothing is left to go on with')
})

test('a connection that breaks off is gone on with from where it broke', async (t) => {
  const notes: string[] = []
  const { run, path, requests } = await attempt(
    t,
    (served) => send(served, bytes, served.before < 2 ? { cutAt: 100_000 * (served.before + 1) } : {}),
    { onNote: (text) => notes.push(text) },
  )
  assert.equal((await run()).sha256, hashOf(bytes))
  assert.deepEqual(readFileSync(path), bytes)
  assert.deepEqual(
    requests.map(({ headers }) => [headers.range, headers['if-range']]),
    [
      [undefined, undefined],
      ['bytes=100000-', '"one"'],
      ['bytes=200000-', '"one"'],
    ],
  )
  assert.equal(notes.length, 2)
  assert.match(notes[0] ?? '', /the connection broke .*; retrying in 1 s from byte 100000/)
})

test('a download given up is gone on with by the next one', async (t) => {
  const { run, path, requests } = await attempt(t, (served) =>
    served.before < 4 ? send(served, bytes, { cutAt: 50_000 }) : send(served, bytes),
  )
  await assert.rejects(
    run(),
    words(/x\.safetensors: the connection .*; 50000 bytes are kept, add it again to resume$/),
  )
  assert.equal(readFileSync(path).length, 50_000)
  assert.equal((await run()).sha256, hashOf(bytes))
  assert.equal(requests.at(-1)?.headers.range, 'bytes=50000-')
})

test('what is there of another address is not gone on with', async (t) => {
  const { run, path, requests } = await attempt(t, (served) => send(served, bytes))
  writeFileSync(path, other.subarray(0, 1000))
  writeFileSync(`${path}.json`, JSON.stringify({ mark: 'of another address', etag: '"one"' }))
  assert.equal((await run()).sha256, hashOf(bytes))
  assert.equal(requests[0]?.headers.range, undefined)
})

test('a server that ignores Range starts over', async (t) => {
  const { run } = await attempt(t, (served) => {
    const { response, before } = served
    if (before === 0) return send(served, bytes, { cutAt: 100_000 })
    response.writeHead(200, { etag: '"one"', 'content-length': bytes.length })
    response.end(bytes)
  })
  assert.equal((await run()).sha256, hashOf(bytes))
})

test('a file that changed on the server starts over', async (t) => {
  const { run } = await attempt(t, (served) =>
    served.before === 0 ? send(served, bytes, { cutAt: 100_000 }) : send(served, other, { etag: '"two"' }),
  )
  assert.equal((await run()).sha256, hashOf(other))
})

test('a server that sends the rest of another file in spite of If-Range is not believed', async (t) => {
  const { run, requests } = await attempt(t, (served) => {
    if (served.before === 0) return send(served, bytes, { cutAt: 100_000 })
    if (served.begin === 0) return send(served, other, { etag: '"two"' })
    const rest = other.subarray(served.begin)
    const range = `bytes ${served.begin}-${other.length - 1}/${other.length}`
    served.response.writeHead(206, { etag: '"two"', 'content-range': range, 'content-length': rest.length })
    served.response.end(rest)
  })
  assert.equal((await run()).sha256, hashOf(other))
  assert.equal(requests.length, 3)
})

test('a server without marks is never gone on with', async (t) => {
  const { run, requests } = await attempt(t, ({ response, before }) => {
    response.writeHead(200, { 'content-length': bytes.length })
    if (before > 0) response.end(bytes)
    else response.write(bytes.subarray(0, 1000), () => response.socket?.end())
  })
  assert.equal((await run()).sha256, hashOf(bytes))
  assert.equal(requests[1]?.headers.range, undefined)
})

test('a server that promises more than it sends is given up, in words', async (t) => {
  const { run } = await attempt(t, ({ response, begin, client }) => {
    const range = { 'content-range': `bytes ${begin}-${bytes.length + 999}/${bytes.length + 1000}` }
    response.writeHead(begin > 0 ? 206 : 200, {
      etag: '"one"',
      'content-length': bytes.length + 1000 - begin,
      ...(begin > 0 && range),
    })
    response.write(bytes.subarray(begin))
    void breakOff(response, () => client.bytes === bytes.length)
  })
  await assert.rejects(run(), words(/the connection broke .*300000 bytes are kept/))
})

test('a server that promises less than the file has is found out by the size or the hash', async (t) => {
  const short = (served: Served) => {
    served.response.writeHead(200, { etag: '"one"', 'content-length': 1000 })
    served.response.end(bytes.subarray(0, 1000))
  }
  const sized = await attempt(t, short, { size: bytes.length })
  await assert.rejects(sized.run(), words(/should have 300000 bytes, but the server announces 1000$/))
  assert.ok(!existsSync(sized.path))
  const hashed = await attempt(t, short, { sha256: hashOf(bytes) })
  await assert.rejects(
    hashed.run(),
    words(/has the SHA-256 [0-9a-f]{64}, but [0-9a-f]{64} was expected; it was deleted$/),
  )
  assert.ok(!existsSync(hashed.path))
})

test('more than was spoken of is refused', async (t) => {
  const { run, path } = await attempt(t, ({ response }) => response.end(bytes), { size: 1000 })
  await assert.rejects(run(), words(/(sent more than the announced 1000 bytes|should have 1000 bytes)/))
  assert.ok(!existsSync(path))
})

test('a wrong hash names both and leaves nothing', async (t) => {
  const { run, path } = await attempt(t, (served) => send(served, bytes), {
    sha256: hashOf(other).toUpperCase(),
  })
  const pattern = new RegExp(
    `has the SHA-256 ${hashOf(bytes)}, but ${hashOf(other)} was expected; it was deleted$`,
  )
  await assert.rejects(run(), words(pattern))
  assert.deepEqual(readdirSync(join(path, '..')), [])
})

const refusals: Record<string, [(served: Served) => void, RegExp]> = {
  '404': [
    ({ response }) => response.writeHead(404).end(),
    /x\.safetensors: the server has no such file \(404\)/,
  ],
  '401': [({ response }) => response.writeHead(401).end(), /requires a login: give --token/],
  '403': [({ response }) => response.writeHead(403).end(), /terms must be accepted/],
  'a page': [
    ({ response }) => response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end('<p>'),
    /the server sent a web page instead of a file; it may require a login/,
  ],
  'a page that says it is a file': [
    ({ response }) =>
      response.writeHead(200, { 'content-type': 'application/octet-stream' }).end('\n<!DOCTYPE html><html>'),
    /the server sent a web page/,
  ],
  'a packed file': [
    ({ response }) => response.writeHead(200, { 'content-encoding': 'gzip' }).end('x'),
    /sends the file compressed \(gzip\)/,
  ],
  'a length that is none': [
    ({ response }) => {
      response.socket?.end('HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n')
    },
    /Content-Length is|connection broke/,
  ],
  'busy for ever': [({ response }) => response.writeHead(503, { 'retry-after': '0' }).end(), /answered 503/],
  'redirects in a circle': [
    ({ response }) => response.writeHead(302, { location: '/again' }).end(),
    /redirects more than 10 times/,
  ],
  'a redirect to another protocol': [
    ({ response }) => response.writeHead(302, { location: 'file:///etc/passwd' }).end(),
    /only https and http URLs/,
  ],
  'a redirect away over http': [
    ({ response }) => response.writeHead(302, { location: 'http://example.com/x' }).end(),
    /example\.com\/x \(reached from .*a file sent over http can be tampered with/,
  ],
}
for (const [what, [answer, pattern]] of Object.entries(refusals)) {
  test(`refused in words: ${what}`, async (t) => {
    const { run, path } = await attempt(t, answer)
    await assert.rejects(run(), words(pattern))
    assert.ok(!existsSync(path) && !existsSync(`${path}.json`), 'nothing is left')
  })
}

test('a server that falls silent counts as broken', async (t) => {
  const { run } = await attempt(
    t,
    (served) => {
      if (served.before > 0) return send(served, bytes)
      served.response.writeHead(200, { etag: '"one"', 'content-length': bytes.length })
      served.response.write(bytes.subarray(0, 1000))
    },
    { patience: { ...patience, stallMs: 150 } },
  )
  assert.equal((await run()).sha256, hashOf(bytes))
})

test('a disk without room is told before the bytes come', async (t) => {
  const { run } = await attempt(t, (served) => send(served, bytes), { freeBytes: async () => 1000 })
  await assert.rejects(
    run(),
    words(/the rest of the file needs 0\.3 MB, but the disk has 0\.0 MB free; free some space/),
  )
})

test('a disk that fills up keeps what came, and the download goes on when there is room', async (t) => {
  const disk = smallDisk(t)
  if (disk === undefined) return t.skip('mounting a small disk needs root')
  const path = join(disk, 'x.partial')
  const { run } = await attempt(t, (served) => send(served, bytes), { path })
  await assert.rejects(run(), words(/the disk has 0\.3 MB free; free some space and add it again/))
  const crowded = await attempt(t, (served) => send(served, bytes), { path, freeBytes: async () => 1e9 })
  await assert.rejects(
    crowded.run(),
    words(/^the disk is full; \d+ bytes are kept, free some space and add it again to resume$/),
  )
  assert.ok(readFileSync(path).length > 0)
  execFileSync('mount', ['-o', 'remount,size=1m', disk])
  assert.equal((await crowded.run()).sha256, hashOf(bytes))
  assert.ok(crowded.requests[1]?.headers.range, 'it resumed')
})

/** A disk of a quarter of a megabyte; undefined if this user may not mount one. */
function smallDisk(t: TestContext): string | undefined {
  const folder = mkdtempSync(join(tmpdir(), 'packshot-disk-'))
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', folder], { stdio: 'pipe' })
  } catch {
    rmdirSync(folder)
    return undefined
  }
  lastFirst(t).after(() => {
    execFileSync('umount', [folder])
    rmdirSync(folder)
  })
  return folder
}

test('a login in the address is sent in a header, and to no other host', async (t) => {
  const store = await serve(t, (served) => send(served, bytes))
  const { requests, address } = await serve(t, ({ response }) =>
    response.writeHead(302, { location: `${store.address}/blob` }).end(),
  )
  const path = join(tempFolder(t), 'x.partial')
  const url = `${address.replace('//', '//me:p%40ss@')}/x.safetensors`
  assert.equal((await download({ url, path, patience })).sha256, hashOf(bytes))
  const basic = `Basic ${Buffer.from('me:p@ss').toString('base64')}`
  assert.equal(requests[0]?.headers.authorization, basic)
  assert.equal(store.requests[0]?.headers.authorization, undefined)
  for (const bad of [
    `${url.replace('x.safe', '').replace(/:\d+/, ':1')}`,
    'https://me:p%40ss@[bad/x?key=p%40ss',
  ]) {
    await assert.rejects(download({ url: bad, path, patience }), (thrown: unknown) => {
      assert.ok(thrown instanceof DownloadError, String(thrown))
      assert.doesNotMatch(thrown.message, /p%40ss|p@ss/)
      return true
    })
  }
})

test('redirects are followed, and the token stays with the first host', async (t) => {
  const store = await serve(t, (served) =>
    send(served, bytes, {
      headers: { 'content-disposition': 'attachment; filename="epi (v1).safetensors"' },
    }),
  )
  const { run, requests } = await attempt(
    t,
    ({ response }) => response.writeHead(302, { location: `${store.address}/blob/17?key=secret` }).end(),
    { token: 'sesame' },
  )
  assert.equal((await run()).fileName, 'epi (v1).safetensors')
  assert.equal(requests[0]?.headers.authorization, 'Bearer sesame')
  assert.equal(store.requests[0]?.headers.authorization, undefined)
})
