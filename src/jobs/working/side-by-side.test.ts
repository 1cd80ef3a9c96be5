import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { lastFirst } from '../../../test/cleanup.ts'
import { type Embedded, embedded, quickGenerator, runDeps, submit } from '../../../test/jobs/embedded.ts'
import { waitFor } from '../../../test/kit/waiting.ts'
import type { GeneratedImage, ImageGenerator } from '../ports.ts'
import { viewJob } from '../serving/job-view.ts'
import { sideBySide } from './side-by-side.ts'

/** What a worker takes beside the task that it has. */

const statusOf = async (parts: Embedded, id: string) => (await viewJob(parts, id)).status

/** Draws so many pictures at the same time; each request waits, drawn by name, until the test lets it go on. */
function gatedGenerator(together: number) {
  const drawing = new Set<string>()
  const gates = new Map<string, PromiseWithResolvers<void>>()
  const gateOf = (prompt: string) => {
    const gate = gates.get(prompt) ?? Promise.withResolvers<void>()
    gates.set(prompt, gate)
    return gate.promise
  }
  const quick = quickGenerator()
  const generator: ImageGenerator = {
    ...quick,
    together: () => together,
    async *generate(request, options) {
      drawing.add(request.prompt)
      try {
        await Promise.race([
          gateOf(request.prompt),
          new Promise((_, reject) =>
            options.signal.addEventListener('abort', () => reject(options.signal.reason)),
          ),
        ])
        const pictures: GeneratedImage[] = []
        for await (const picture of quick.generate(request, options)) pictures.push(picture)
        drawing.delete(request.prompt)
        options.onFree?.()
        yield* pictures
      } finally {
        drawing.delete(request.prompt)
      }
    },
  }
  return {
    generator,
    drawing: () => [...drawing].toSorted().join(' '),
    draw(prompt: string) {
      void gateOf(prompt)
      gates.get(prompt)?.resolve()
    },
  }
}

async function start(
  t: TestContext,
  together: number,
  wrap: (parts: Embedded) => Embedded = (parts) => parts,
) {
  const parts = wrap(embedded(t))
  const { generator, ...gated } = gatedGenerator(together)
  const stopping = new AbortController()
  const deps = runDeps(parts, { generator })
  const consumer = await parts.queue.consume(sideBySide(deps, stopping.signal))
  lastFirst(t).after(async () => {
    stopping.abort()
    await consumer.stop()
  })
  const ask = async (prompt: string, more: object = {}) =>
    (await submit(parts, { prompt, steps: 2, ...more })).id
  const draws = (prompts: string) => waitFor(async () => gated.drawing() === prompts)
  const succeeds = (id: string) => waitFor(async () => (await statusOf(parts, id)) === 'succeeded')
  return { parts, ...gated, ask, draws, succeeds }
}

test('with a device for one picture the next task is taken when the last is drawn, and one waits for storage at most', async (t) => {
  const open = Promise.withResolvers<void>()
  const away = (parts: Embedded): Embedded => ({
    ...parts,
    images: {
      ...parts.images,
      async putImage(...image) {
        await open.promise
        return parts.images.putImage(...image)
      },
    },
  })
  const { ask, draw, draws, drawing, parts, succeeds } = await start(t, 1, away)
  const ids = [await ask('one'), await ask('two'), await ask('three')]
  await draws('one')
  draw('one')
  await draws('two')
  assert.equal(await statusOf(parts, ids[0] as string), 'running', 'it is acknowledged when it is stored')
  draw('two')
  await draws('')
  await new Promise((resolve) => setTimeout(resolve, 100))
  assert.equal(drawing(), '')
  assert.equal(await parts.queue.depth(), 3)
  open.resolve()
  await draws('three')
  draw('three')
  for (const id of ids) await succeeds(id)
  await waitFor(async () => (await parts.queue.depth()) === 0)
})

test('tasks of one model and size are drawn side by side, as many pictures as the device draws', async (t) => {
  const { ask, draw, draws, succeeds } = await start(t, 4)
  const first = await ask('a', { count: 2 })
  await draws('a')
  const ids = [first, await ask('b'), await ask('c'), await ask('d')]
  await draws('a b c')
  draw('b')
  await succeeds(ids[1] as string)
  await draws('a c d')
  for (const prompt of ['a', 'c', 'd']) draw(prompt)
  for (const id of ids) await succeeds(id)
})

test('a task of another size goes back until the others are drawn, and nothing overtakes it', async (t) => {
  const { ask, draw, draws, parts, succeeds } = await start(t, 4)
  const ids = [await ask('a'), await ask('wide', { width: 512 }), await ask('b')]
  await draws('a')
  await new Promise((resolve) => setTimeout(resolve, 100))
  await draws('a')
  assert.equal(await statusOf(parts, ids[1] as string), 'queued')
  draw('a')
  await draws('wide')
  draw('wide')
  await draws('b')
  draw('b')
  for (const id of ids) await succeeds(id)
})

test('one that is canceled beside others leaves them alone', async (t) => {
  const { ask, draw, draws, parts, succeeds } = await start(t, 4)
  const ids = [await ask('a'), await ask('b')]
  await draws('a b')
  await parts.status.requestCancel(ids[0] as string)
  await draws('b')
  await waitFor(async () => (await statusOf(parts, ids[0] as string)) === 'canceled')
  draw('b')
  await succeeds(ids[1] as string)
})

test('a task that failed before is worked on alone', async (t) => {
  const { ask, draw, draws, parts, succeeds } = await start(t, 4)
  parts.database.durable.exec(
    'CREATE TRIGGER tried AFTER INSERT ON tasks WHEN NEW.message LIKE \'%"again"%\' BEGIN UPDATE tasks SET attempts = 1 WHERE seq = NEW.seq; END',
  )
  const first = await ask('a')
  await draws('a')
  const again = await ask('again')
  await new Promise((resolve) => setTimeout(resolve, 100))
  await draws('a')
  draw('a')
  await succeeds(first)
  await draws('again')
  const last = await ask('b')
  await new Promise((resolve) => setTimeout(resolve, 100))
  await draws('again')
  draw('again')
  await succeeds(again)
  await draws('b')
  draw('b')
  await succeeds(last)
})
