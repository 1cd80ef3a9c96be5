import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type ServerResponse } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { lastFirst, tempFolder } from '../../test/cleanup.ts'
import { tinyCheckpoint } from '../../test/golden/parity/variants.ts'
import { models, visible } from '../../test/models/command.ts'
import { send, serve } from '../../test/models/file-server.ts'
import { pixels, startGenerator } from '../../test/models/generator.ts'

/** `npm run models -- add` from servers on this machine. */

const checkpoint = readFileSync(tinyCheckpoint)
const hash = createHash('sha256').update(checkpoint).digest('hex')
const folder = join(import.meta.dirname, '../../test/golden/tiny-sd')

test('a checkpoint comes over a connection that breaks, and makes the picture that it should', async (t) => {
  const dir = join(tempFolder(t), 'models')
  const { address, requests, client } = await serve(t, (served) =>
    send(served, checkpoint, {
      headers: { 'content-disposition': 'attachment; filename="../../epi photo (v2).safetensors"' },
      ...(served.before === 0 && { cutAt: 1_000_000 }),
    }),
  )
  const url = `${address}/api/download/models/17?type=Model&key=secret`
  client.bytes = 0
  const { status, stdout, stderr } = await models(dir, ['add', url, '--sha256', hash], {}, client)
  assert.equal(status, 0, stderr)
  assert.match(stdout, /^Added model epi photo \(v2\): .*\/models\/epi photo \(v2\)\.safetensors\nSHA-256/)
  assert.match(stderr, /17: the connection broke .*from byte 1000000/)
  assert.match(stderr, /17: 100 %, 2\.1 MB of 2\.1 MB/)
  assert.equal(requests[1]?.headers.range, 'bytes=1000000-')
  assert.deepEqual(visible(dir), ['epi photo (v2).safetensors', 'epi photo (v2).sha256'])
  assert.deepEqual(readFileSync(join(dir, 'epi photo (v2).safetensors')), checkpoint)
  const added = startGenerator(t, { PACKSHOT_MODELS_DIR: dir, PACKSHOT_MODEL: 'epi photo (v2)' })
  const source = startGenerator(t, { PACKSHOT_MODELS_DIR: dir, PACKSHOT_MODEL: tinyCheckpoint })
  const picture = await added.make({ model: 'epi photo (v2)' })
  assert.deepEqual(pixels(picture), pixels(await source.make({ model: 'tiny-fp16' })))
})

test('a pickle is not even asked for', async (t) => {
  const dir = tempFolder(t)
  const { address, requests } = await serve(t, (served) => send(served, checkpoint))
  const { stderr } = await models(dir, ['add', `${address}/v1-5.ckpt?download=true`])
  assert.match(stderr, /^v1-5\.ckpt: this is a pickle: it can run code/)
  assert.equal(requests.length, 0)
})

const refusedFormats: Record<string, RegExp> = {
  '.pkl': /this is a pickle: it can run code/,
  '.gguf': /this is a GGUF file/,
  '.ckpt': /this is a pickle: it can run code/,
  '.zip': /this is an archive/,
}
for (const [ending, sentence] of Object.entries(refusedFormats)) {
  test(`${ending} is refused with the same sentence by whichever road it comes`, async (t) => {
    const dir = tempFolder(t)
    const place = (name: string) => writeFileSync(join(dir, `${name}${ending}`), 'x')
    place('listed')
    const unnamed = await serve(t, (served) =>
      send(served, checkpoint, {
        headers: { 'content-disposition': `attachment; filename="named${ending}"` },
      }),
    )
    const roads = [
      await models(tempFolder(t), ['add', join(dir, `listed${ending}`)]),
      await models(tempFolder(t), ['add', `https://127.0.0.1:9/listed${ending}`]),
      await models(tempFolder(t), ['add', `${unnamed.address}/download`]),
      await models(tempFolder(t), ['add', `owner/name:listed${ending}`]),
    ]
    const { stdout } = await models(dir, ['list'])
    const told = [...roads.map(({ stderr }) => stderr), stdout]
      .map((text) => /: (this is .*)$/m.exec(text)?.[1])
      .map((text) => text?.replace(/\.$/, ''))
    assert.match(told[0] ?? '', sentence)
    assert.deepEqual(told, Array(5).fill(told[0]))
    assert.match(stdout, new RegExp(`^model +listed {2}0\\.0 kB\\n +CANNOT BE USED: .*listed\\${ending}: `))
  })
}

test('one is added at a time', async (t) => {
  const dir = tempFolder(t)
  const [asked, secondIsOver] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const { address } = await serve(t, (served) => {
    asked.resolve()
    void secondIsOver.promise.then(() => send(served, checkpoint))
  })
  const first = models(dir, ['add', `${address}/x.safetensors`])
  await asked.promise
  const second = await models(dir, ['add', `${address}/x.safetensors`])
  assert.match(second.stderr, /Another process is adding a file to .*: wait until it is finished\./)
  secondIsOver.resolve()
  assert.equal((await first).status, 0)
  assert.equal((await models(dir, ['add', tinyCheckpoint])).status, 0)
})

test('what came is a page, a pickle, or nothing known: nothing is there afterwards', async (t) => {
  const dir = tempFolder(t)
  const answers: [Buffer, RegExp][] = [
    [Buffer.from('PK\x03\x04 a zip with a pickle in it'), /this is a pickle: it can run code/],
    [checkpoint.subarray(0, 1000), /1000|shorter|claims|file has/],
    [Buffer.from('just some text that is no checkpoint'), /x\.partial: /],
    [Buffer.from('<html>Please log in</html>'), /sent a web page instead of a file/],
  ]
  for (const [bytes, message] of answers) {
    const { address } = await serve(t, (served) => send(served, bytes))
    const { status, stderr } = await models(dir, ['add', `${address}/x.safetensors`])
    assert.equal(status, 1)
    assert.match(stderr, message)
    assert.deepEqual(visible(dir), [])
  }
})

/** A hub with one model, its weights in two precisions. */
async function fakeHub(
  t: Parameters<typeof serve>[0],
  broken: (path: string, before: number) => boolean = () => false,
) {
  const half = checkpoint.subarray(0, 100)
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.includes('.'))
    .map((path) => ({ path, bytes: readFileSync(join(folder, path)) }))
  files.push(
    { path: 'safety_checker/model.safetensors', bytes: half },
    { path: 'unet/diffusion_pytorch_model.bin', bytes: half },
    { path: 'README.md', bytes: half },
    { path: 'tiny.safetensors', bytes: checkpoint },
  )
  const seen = new Map<string, number>()
  const hub = await serve(t, (served) => {
    const { request, response } = served
    if (request.headers.authorization !== 'Bearer hub-token') return response.writeHead(401).end()
    const { pathname } = new URL(request.url ?? '', 'http://hub')
    if (pathname === '/api/models/someone/tiny/tree/main') {
      const entries = files.map(({ path, bytes }) => ({
        type: 'file',
        path,
        size: bytes.length,
        ...(path.endsWith('.safetensors') && {
          lfs: { oid: createHash('sha256').update(bytes).digest('hex'), size: bytes.length },
        }),
      }))
      response.writeHead(200, { 'content-type': 'application/json' })
      return response.end(JSON.stringify([{ type: 'directory', path: 'unet', size: 0 }, ...entries]))
    }
    const path = /^\/someone\/tiny\/resolve\/main\/(.+)$/.exec(pathname)?.[1]
    const file = files.find((each) => each.path === path)
    if (path === undefined || file === undefined) return response.writeHead(404).end()
    const before = seen.get(path) ?? 0
    seen.set(path, before + 1)
    return send(served, file.bytes, broken(path, before) ? { cutAt: Math.floor(file.bytes.length / 2) } : {})
  })
  return { ...hub, env: { HF_ENDPOINT: hub.address, HF_TOKEN: 'hub-token' } }
}

test('a model in diffusers layout comes from a hub, only what is read of it, over a broken connection', async (t) => {
  const dir = tempFolder(t)
  const hub = await fakeHub(t, (path, before) => path.startsWith('unet/diff') && before === 0)
  const { status, stdout, stderr } = await models(dir, ['add', 'someone/tiny'], hub.env)
  assert.equal(status, 0, stderr)
  assert.match(stdout, /^Added model tiny: /)
  assert.match(stderr, /someone\/tiny: 13 files, .*weights: text_encoder\/model\.safetensors, unet/)
  const there = readdirSync(join(dir, 'tiny'), { recursive: true, encoding: 'utf8' }).filter((path) =>
    path.includes('.'),
  )
  const wanted = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((path) =>
    path.includes('.'),
  )
  assert.deepEqual(there.sort(), wanted.sort())
  assert.equal((await models(dir, ['verify', 'tiny'])).stdout, 'model tiny: good\n')
})

test('one file of a hub is fetched by its path, and the hub says its hash', async (t) => {
  const dir = tempFolder(t)
  const hub = await fakeHub(t)
  assert.equal(
    (await models(dir, ['add', 'someone/tiny:tiny.safetensors', '--name', 'a'], hub.env)).status,
    0,
  )
  assert.equal(
    (await models(dir, ['add', 'someone/tiny/tiny.safetensors', '--name', 'b'], hub.env)).status,
    0,
  )
  const missing = await models(dir, ['add', 'someone/tiny:other.safetensors'], hub.env)
  assert.match(missing.stderr, /someone\/tiny has no file other\.safetensors; it has .*tiny\.safetensors/)
  const denied = await models(dir, ['add', 'someone/tiny'], { ...hub.env, HF_TOKEN: 'wrong' })
  assert.match(denied.stderr, /requires a login: set HF_TOKEN, and accept its terms on the site \(401\)/)
  const lied = await models(
    dir,
    ['add', 'someone/tiny:tiny.safetensors', '--name', 'c', '--sha256', '0'.repeat(64)],
    hub.env,
  )
  assert.match(lied.stderr, new RegExp(`the server announces the SHA-256 ${hash}, but 0{64} was expected`))
  assert.deepEqual(visible(dir), ['a.safetensors', 'a.sha256', 'b.safetensors', 'b.sha256'])
  assert.ok(!existsSync(join(dir, 'c.partial')))
})

const listings: Record<string, [(response: ServerResponse) => void, RegExp]> = {
  'without an end': [
    (response) => response.end(`["${'x'.repeat(6_000_000)}"]`),
    /the response has more than 5000000 bytes/,
  ],
  'from elsewhere over http': [
    (response) => response.writeHead(302, { location: 'http://example.com/list' }).end(),
    /example\.com\/list \(reached from .*can be tampered with/,
  ],
  'no JSON': [(response) => response.end('<html>'), /the response is not JSON/],
}
for (const [what, [answer, message]] of Object.entries(listings)) {
  test(`the listing of a hub is refused in words: ${what}`, async (t) => {
    const dir = tempFolder(t)
    const hub = await serve(t, ({ response }) => answer(response))
    const { status, stderr } = await models(dir, ['add', 'someone/tiny'], { HF_ENDPOINT: hub.address })
    assert.equal(status, 1)
    assert.match(stderr, message)
    assert.ok(!stderr.includes('    at '), 'no stack trace')
    assert.deepEqual(visible(dir), [])
  })
}

test('downloads go through the proxy that the environment names', async (t) => {
  const dir = tempFolder(t)
  const site = await serve(t, (served) => send(served, checkpoint))
  const asked: (string | undefined)[] = []
  const proxy = createServer().on('connect', (request, socket) => {
    asked.push(request.url)
    const behind = connect(Number(new URL(site.address).port), '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n')
      behind.pipe(socket).pipe(behind)
    })
    behind.on('error', () => socket.destroy())
    socket.on('error', () => behind.destroy())
  })
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
  lastFirst(t).after(() => proxy.close())
  const { port } = proxy.address() as AddressInfo
  const program = join(import.meta.dirname, 'models.ts')
  const url = 'http://files.example/tiny.safetensors'
  const names = { HTTP_PROXY: `http://127.0.0.1:${port}`, http_proxy: '', NO_PROXY: '', no_proxy: '' }
  const env = { ...process.env, PACKSHOT_MODELS_DIR: dir, ...names }
  await promisify(execFile)(process.execPath, [program, 'add', url, '--sha256', hash], { env })
  assert.deepEqual(asked, ['files.example:80'])
  assert.equal(site.requests[0]?.url, '/tiny.safetensors')
  assert.deepEqual(visible(dir), ['tiny.safetensors', 'tiny.sha256'])
})
