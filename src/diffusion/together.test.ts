import assert from 'node:assert/strict'
import { cp, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { lastFirst, tempFolder } from '../../test/cleanup.ts'
import { type Engine, type EngineOptions, openEngine } from './engine.ts'
import { AbortedError, CheckpointError } from './errors.ts'
import type { Picture, PictureRequest, RunOptions } from './request.ts'
import { type Feed, Session } from './runtime/session.ts'
import { SessionCache } from './runtime/session-cache.ts'

/** Pictures that are drawn at the same time share runs of the UNet, and each is bit for bit what it is alone. */

const golden = join(import.meta.dirname, '../../test/golden')
const tiny = join(golden, 'tiny-sd')
const lora = (name: string) => join(golden, 'parity/loras', `${name}.safetensors`)

const request: PictureRequest = {
  prompt: 'a red apple',
  negativePrompt: '',
  width: 64,
  height: 64,
  steps: 4,
  guidanceScale: 5,
  sampler: 'dpmpp_2m',
  schedule: 'karras',
  seed: 7,
}

async function open(t: TestContext, options: Partial<EngineOptions> = {}): Promise<Engine> {
  const engine = await openEngine({ model: tiny, provider: 'cpu', threads: 1, ...options })
  lastFirst(t).after(() => engine.close())
  return engine
}

/** How many rows the runs of the UNet have from now on; 1 for each window of text that is encoded. */
function watch(t: TestContext) {
  const rows: number[] = []
  const windows: number[] = []
  const run = Session.prototype.run
  t.mock.method(Session.prototype, 'run', function (this: Session, feeds: Record<string, Feed>) {
    const { time, embeddings } = feeds
    if (time !== undefined) rows.push(time.dims[0] as number)
    if (embeddings !== undefined) windows.push(embeddings.dims[0] as number)
    return run.call(this, feeds)
  })
  return { rows, windows }
}

const draw = async (engine: Engine, asked: PictureRequest, options?: RunOptions) =>
  (await engine.generate(asked, options)).rgb

/** Each with an engine that draws one at a time. */
async function alone(t: TestContext, asked: readonly PictureRequest[], options?: Partial<EngineOptions>) {
  const engine = await open(t, options)
  const pictures: Uint8Array[] = []
  for (const each of asked) pictures.push(await draw(engine, each))
  return pictures
}

const source = {
  rgb: Uint8Array.from({ length: 3 * 64 * 64 }, (_, i) => (i * 7) % 256),
  width: 64,
  height: 64,
  strength: 0.8,
  mask: Uint8Array.from({ length: 64 * 64 }, (_, i) => (i % 64 < 32 ? 255 : 0)),
}

/** Alike in nothing but size and length of prompt. */
const various: readonly PictureRequest[] = [
  request,
  { ...request, seed: 8, prompt: 'a blue (pear:1.3)', sampler: 'euler_ancestral', steps: 5 },
  { ...request, seed: 9, guidanceScale: 1, sampler: 'ddim', schedule: 'leading', steps: 6 },
  { ...request, seed: 10, sampler: 'dpmpp_sde', image: source, guidanceEnd: 0.5, clipSkip: 2 },
]

test('four with four seeds equal four that were drawn alone, in runs of all of them', async (t) => {
  const asked = [1, 2, 3, 4].map((seed) => ({ ...request, seed }))
  for (const profile of ['fast', 'dense'] as const) {
    const wanted = await alone(t, asked, { profile })
    const engine = await open(t, { together: 4, profile })
    const { rows } = watch(t)
    assert.deepEqual(await Promise.all(asked.map((each) => draw(engine, each))), wanted)
    assert.deepEqual(rows, [8, 8, 8, 8])
    t.mock.restoreAll()
    assert.deepEqual(await draw(engine, asked[0] as PictureRequest), wanted[0], 'alone in the same graph')
  }
})

test('they may differ in seed, prompt, steps, sampler, guidance and source', async (t) => {
  for (const profile of ['fast', 'dense'] as const) {
    const wanted = await alone(t, various, { profile })
    const engine = await open(t, { together: 4, profile })
    const { rows } = watch(t)
    const seen: Picture[] = []
    const previews = { count: 2, show: (picture: Picture) => void seen.push(picture) }
    const pictures = various.map((each) => draw(engine, each, each === request ? { previews } : {}))
    assert.deepEqual(await Promise.all(pictures), wanted)
    assert.equal(seen.length, 2, 'previews are those of their picture')
    // two of each picture with guidance; on a CPU those without go alone, since a single row may be computed otherwise
    assert.equal(rows[0], 6)
    assert.ok(rows.length < 18, `${rows}`)
    t.mock.restoreAll()
  }
})

test('no more go together than are allowed, or than memory has room for', async (t) => {
  const asked = [1, 2, 3].map((seed) => ({ ...request, seed, steps: 2 }))
  const wanted = await alone(t, asked)
  const two = await open(t, { together: 2 })
  const { rows } = watch(t)
  assert.deepEqual(await Promise.all(asked.map((each) => draw(two, each))), wanted)
  assert.deepEqual(rows, [4, 4, 4])
  // all that one picture needs would be enough for three without the text encoder
  const short = Math.floor(0.9 * (await heldBy(t, 1)))
  const small = await open(t, { together: 3, sessions: new SessionCache<Session>(short) })
  rows.length = 0
  assert.deepEqual(await Promise.all(asked.map((each) => draw(small, each))), wanted)
  assert.ok(Math.max(...rows) < 6, `${rows}`)
})

/** What an engine holds after a picture, in bytes. */
async function heldBy(t: TestContext, together: number): Promise<number> {
  const engine = await open(t, { together })
  await engine.generate(request)
  return engine.bytes
}

test('one that comes later joins between two steps', async (t) => {
  const [first, second] = [
    { ...request, steps: 5 },
    { ...request, seed: 8, prompt: 'a pear' },
  ]
  const wanted = await alone(t, [first, second])
  const engine = await open(t, { together: 4 })
  const { rows } = watch(t)
  let later: Promise<Uint8Array> | undefined
  const onStep = (step: number) => {
    if (step === 2) later = draw(engine, second)
  }
  assert.deepEqual(await draw(engine, first, { onStep }), wanted[0])
  assert.deepEqual(await later, wanted[1])
  assert.deepEqual(rows, [2, 2, 4, 4, 4, 2])
})

test('one that is canceled, and one that fails, leave the others as they are', async (t) => {
  const asked = [1, 2].map((seed) => ({ ...request, seed }))
  const wanted = await alone(t, asked)
  const engine = await open(t, { together: 4 })
  const signal = { aborted: false }
  const onStep = (step: number) => {
    signal.aborted = step === 2
  }
  const canceled = draw(engine, { ...request, seed: 3 }, { signal, onStep })
  const broken = draw(engine, { ...request, seed: 4, guidanceScale: 1e39 })
  const results = Promise.all(asked.map((each) => draw(engine, each)))
  await assert.rejects(canceled, AbortedError)
  await assert.rejects(broken, CheckpointError)
  assert.deepEqual(await results, wanted)
})

test('if a run of several fails, each is run alone, and from then on one after the other', async (t) => {
  const asked = [1, 2].map((seed) => ({ ...request, seed }))
  const wanted = await alone(t, asked)
  const warnings: string[] = []
  const engine = await open(t, { together: 2, onWarning: (message) => void warnings.push(message) })
  const run = Session.prototype.run
  let several = 0
  t.mock.method(Session.prototype, 'run', async function (this: Session, feeds: Record<string, Feed>) {
    if ((feeds.time?.dims[0] ?? 0) > 2) {
      several += 1
      throw new Error('out of memory')
    }
    return run.call(this, feeds)
  })
  assert.deepEqual(await Promise.all(asked.map((each) => draw(engine, each))), wanted)
  assert.equal(several, 1)
  assert.deepEqual(warnings, [
    'Pictures are drawn one after the other from now on: drawing several failed (out of memory).',
  ])
})

test('those of other LoRAs, sizes or lengths of prompts go in runs of their own, at the same time', async (t) => {
  const long = Array.from({ length: 3 }, () => 'apple').join(' BREAK ')
  const asked: readonly PictureRequest[] = [
    request,
    { ...request, loras: [{ file: lora('kohya'), strength: 1 }] },
    { ...request, loras: [{ file: lora('kohya'), strength: 0.5 }] },
    { ...request, width: 128 },
    { ...request, prompt: long },
    { ...request, prompt: long, negativePrompt: long },
  ]
  const wanted = await alone(t, asked)
  const engine = await open(t, { together: 4 })
  const { rows } = watch(t)
  assert.deepEqual(await Promise.all(asked.map((each) => draw(engine, each))), wanted)
  assert.deepEqual(
    rows,
    rows.map(() => 2),
  )
  rows.length = 0
  const same = [asked[1], { ...asked[1], seed: 8 }] as PictureRequest[]
  await Promise.all(same.map((each) => draw(engine, each)))
  assert.deepEqual(rows, [4, 4, 4, 4])
})

test('a prompt that comes again is not encoded again, and the picture is the same', async (t) => {
  const engine = await open(t)
  const { windows } = watch(t)
  const first = await draw(engine, request)
  assert.equal(windows.length, 2)
  assert.deepEqual(await draw(engine, request), first)
  assert.equal(windows.length, 2)
  // the negative prompt is the same
  await draw(engine, { ...request, prompt: 'a pear' })
  assert.equal(windows.length, 3)
  await draw(engine, { ...request, prompt: 'a (pear:1.2)' })
  assert.equal(windows.length, 4)
  await draw(engine, { ...request, clipSkip: 2 })
  assert.equal(windows.length, 6)
})

test('what is kept of prompts is that of the LoRA and its strength, and of files as they are now', async (t) => {
  const folder = tempFolder(t)
  const [style, file] = [join(folder, 'style.safetensors'), join(folder, 'lora.safetensors')]
  await cp(join(golden, 'embeddings/tinystyle.safetensors'), style)
  await cp(lora('kohya'), file)
  const embeddings = new Map([['style', style]])
  const asked: readonly PictureRequest[] = [
    request,
    { ...request, loras: [{ file, strength: 1 }] },
    { ...request, loras: [{ file, strength: 1, textStrength: 0.5 }] },
    { ...request, loras: [{ file, strength: 1, textStrength: 0 }] },
    { ...request, prompt: 'an apple, style', embeddings },
  ]
  const engine = await open(t)
  const again = async () => {
    const pictures: Uint8Array[] = []
    for (const each of asked) pictures.push(await draw(engine, each))
    return pictures
  }
  const before = await again()
  assert.deepEqual(await again(), before)
  assert.deepEqual(before, await alone(t, asked))

  // one number of each file becomes another
  for (const path of [style, file]) {
    const bytes = await readFile(path)
    bytes.writeUInt8(bytes.readUInt8(bytes.length - 2) ^ 2, bytes.length - 2)
    await writeFile(path, bytes)
  }
  const after = await again()
  assert.deepEqual(after, await alone(t, asked))
  assert.notDeepEqual(after[1], before[1])
  assert.notDeepEqual(after[4], before[4])
  assert.deepEqual(after[0], before[0])
})
