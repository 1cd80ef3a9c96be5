import assert from 'node:assert/strict'
import { suite, type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { inflateSync } from 'node:zlib'
import { lastFirst } from '../../test/cleanup.ts'
import { someRequest } from '../../test/contract/jobs.ts'
import { keepingLog } from '../../test/quiet-log.ts'
import type { Progress, ResolvedRequest } from '../jobs/job.ts'
import type { GeneratedImage, GenerateOptions } from '../jobs/ports.ts'
import { threadGenerator } from './thread-generator.ts'

const standInThread = new URL('../../test/stand-in/thread.ts', import.meta.url)

function generator(t: TestContext, options: { entry?: URL; abortGraceMs?: number; batch?: string } = {}) {
  const { entry = standInThread, abortGraceMs = 30_000, batch } = options
  const onStuck = () => assert.fail('the thread is stuck')
  const made = threadGenerator({ entry, settings: { batch }, log: keepingLog(), abortGraceMs, onStuck })
  lastFirst(t).after(() => made.close())
  return made
}

async function make(
  from: ReturnType<typeof generator>,
  request: ResolvedRequest,
  options: Partial<GenerateOptions> = {},
): Promise<GeneratedImage[]> {
  const { signal = new AbortController().signal, onProgress = () => {}, ...given } = options
  const pictures: GeneratedImage[] = []
  for await (const picture of from.generate(request, { signal, onProgress, ...given })) pictures.push(picture)
  return pictures
}

const prompt = (words: string, changes: Partial<ResolvedRequest> = {}) =>
  someRequest({ prompt: words, ...changes })

suite('the thread generator', () => {
  test('makes the pictures of a request, each with its seed, and tells the steps', async (t) => {
    const seen: Progress[] = []
    const request = prompt('an apple', { count: 2, steps: 2, seed: 2 ** 32 - 1 })
    const pictures = await make(generator(t), request, { onProgress: (progress) => seen.push(progress) })
    assert.deepEqual(
      pictures.map(({ seed, width }) => [seed, width]),
      [
        [2 ** 32 - 1, 256],
        [0, 256],
      ],
    )
    assert.notDeepEqual(pictures[0]?.bytes, pictures[1]?.bytes)
    assert.deepEqual(
      seen,
      [1, 2, 3, 4].map((step) => ({ step, steps: 4 })),
    )
  })

  test('hands over previews of the first picture, and the pictures are the same', async (t) => {
    const from = generator(t)
    const request = prompt('an apple', { count: 2, steps: 3 })
    const seen: string[] = []
    const onPreview = ({ index, bytes }: { index: number; bytes: Uint8Array }) =>
      seen.push(`${index}: ${Buffer.from(bytes)}`)
    const shown = await make(from, request, { previews: { count: 2, onPreview } })
    const of = (step: number) => `${step}: preview of seed ${request.seed} after step ${step}`
    assert.deepEqual(seen, [of(1), of(2)])
    assert.deepEqual(shown, await make(from, request))
  })

  test('hands over the pictures that a request starts from, and counts the steps that are left', async (t) => {
    const seen: Progress[] = []
    const request = prompt('an apple', { steps: 4, init_image: 'a', strength: 0.5 })
    const images = { init: Buffer.from('a photo'), mask: Buffer.from('a mask') }
    const onProgress = (progress: Progress) => seen.push(progress)
    const [picture] = await make(generator(t), request, { images, onProgress })
    assert.match(
      inflateSync(Buffer.from(picture?.bytes ?? []).subarray(8)).toString(),
      /^picture of seed 7 from a photo within a mask/,
    )
    assert.deepEqual(
      seen,
      [1, 2].map((step) => ({ step, steps: 2 })),
    )
  })

  test('stops at the next step with the reason of the signal, and goes on with the next request', async (t) => {
    const made = generator(t)
    const controller = new AbortController()
    const reason = new Error('enough')
    const onProgress = () => controller.abort(reason)
    const run = make(made, prompt('10ms', { steps: 10_000 }), { signal: controller.signal, onProgress })
    await assert.rejects(run, reason)
    assert.equal((await make(made, prompt('an apple'))).length, 1)
    await assert.rejects(make(made, prompt('an apple'), { signal: controller.signal }), reason)
  })

  test('goes on after a caller that left in the middle', async (t) => {
    const made = generator(t)
    const options = { signal: new AbortController().signal, onProgress: () => {} }
    for await (const _ of made.generate(prompt('10ms', { count: 4 }), options)) break
    assert.equal((await make(made, prompt('an apple'))).length, 1)
  })

  test('tells a user nothing of the engine`s inner faults, and keeps them for the log', async (t) => {
    const made = generator(t)
    await assert.rejects(
      make(made, prompt('throw')),
      (error: { code: string; message: string; cause: Error }) => {
        assert.deepEqual(
          [error.code, error.message],
          ['generation_failed', 'The engine failed on this request.'],
        )
        assert.match(error.cause.stack ?? '', /a secret of the engine/)
        return true
      },
    )
  })

  test('replaces a thread that ran out of memory', async (t) => {
    const made = generator(t)
    await assert.rejects(make(made, prompt('memory')), { code: 'out_of_memory' })
    assert.equal((await make(made, prompt('an apple'))).length, 1)
  })

  test('runs go on side by side; a thread that ran out of memory is replaced when the others have ended', async (t) => {
    const made = generator(t, { batch: '4' })
    const begun = Promise.withResolvers<void>()
    const [seen, freed]: [string[], string[]] = [[], []]
    const run = (words: string, changes: Partial<ResolvedRequest> = {}, onProgress = () => {}) =>
      make(made, prompt(words, changes), { onProgress, onFree: () => void freed.push(words) })
    const slow = run('20ms', { steps: 20, count: 2 }, begun.resolve).then((pictures) => {
      seen.push('slow')
      return pictures
    })
    await begun.promise
    assert.equal(made.together?.(), 4)
    assert.equal((await run('an apple')).length, 1)
    seen.push('apple')
    await assert.rejects(run('throw'), { code: 'generation_failed' })
    // the stand-in fails at whatever it makes later, so the two must have ended
    assert.equal((await slow).length, 2)
    const other = run('20ms', { steps: 20 })
    await assert.rejects(run('memory'), { code: 'out_of_memory' })
    const late = run('a pear')
    await assert.rejects(other, { code: 'out_of_memory' })
    assert.equal((await late).length, 1, 'by another thread')
    assert.deepEqual(seen, ['apple', 'slow'])
    assert.deepEqual(freed, ['an apple', 'throw', '20ms', 'memory', '20ms', 'a pear'])
  })

  test('a run that is aborted ends alone; a thread that dies takes all its runs with it', async (t) => {
    const made = generator(t, { batch: '4' })
    const controller = new AbortController()
    const reason = new Error('enough')
    const slow = make(made, prompt('20ms', { steps: 20 }))
    const onProgress = () => controller.abort(reason)
    await assert.rejects(
      make(made, prompt('10ms', { steps: 10_000 }), { signal: controller.signal, onProgress }),
      reason,
    )
    assert.equal((await slow).length, 1)
    const both = [make(made, prompt('20ms', { steps: 1000 })), make(made, prompt('crash'))]
    for (const each of both) await assert.rejects(each, { code: 'generation_failed' })
    assert.equal((await make(made, prompt('an apple'))).length, 1)
  })

  test('replaces a thread that died', async (t) => {
    const made = generator(t)
    await assert.rejects(make(made, prompt('crash')), { code: 'generation_failed' })
    assert.equal((await make(made, prompt('an apple'))).length, 1)
  })

  test('ends a thread that hangs, some time after the abort', async (t) => {
    const made = generator(t, { abortGraceMs: 100 })
    const reason = new Error('it took too long')
    const controller = new AbortController()
    const run = make(made, prompt('hang'), { signal: controller.signal })
    await sleep(300)
    controller.abort(reason)
    await assert.rejects(run, reason)
    assert.equal((await make(made, prompt('an apple'))).length, 1)
  })

  test('tells why a model cannot be loaded, at the start and at each request', async (t) => {
    const made = generator(t, { entry: new URL('../../test/stand-in/no-model-thread.ts', import.meta.url) })
    const expected = { code: 'model_invalid', message: 'unet/model.safetensors is truncated.' }
    await assert.rejects(made.start(), expected)
    await assert.rejects(make(made, prompt('an apple')), expected)
  })
})
