import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { packageVersion } from '../../src/version.ts'
import { type Cleanup, tempFolder } from '../cleanup.ts'
import { startCollector, startSentry } from '../kit/collector.ts'
import { waitFor } from '../kit/waiting.ts'
import { realServer, standInServer, startServer, submit, untilFinal } from './server-process.ts'

/** Reports of faults of the whole program, as a project of Sentry or GlitchTip gets them. */

const marker = 'zebrafish in a top hat'

/** Loaded by server and worker before the program: what it throws is thrown outside any request or job. */
function throwingLater(t: Cleanup, part: 'server' | 'worker', go: string): string {
  const entry = part === 'worker' ? 'worker-process' : 'server'
  const program = `
    import { existsSync } from 'node:fs'
    import { isMainThread } from 'node:worker_threads'
    if (isMainThread && process.argv[1].includes('stand-in/${entry}'))
      setInterval(() => {
        if (existsSync(${JSON.stringify(go)}))
          throw new TypeError('at https://user:hunter2@db.lan/a?token=hunter2, authorization: Bearer hunter2')
      }, 20).unref()`
  const file = join(tempFolder(t), 'throw.mjs')
  writeFileSync(file, program)
  return `--import=${pathToFileURL(file)}`
}

test('failed jobs are reported by their code, one of a kind, with stack and trace and without prompt or key', async (t) => {
  const sentry = await startSentry(t)
  const collector = await startCollector(t)
  const env = {
    PACKSHOT_DATA_DIR: tempFolder(t),
    SENTRY_DSN: sentry.dsn,
    SENTRY_ENVIRONMENT: 'test',
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
  }
  const server = startServer(t, env, standInServer, [])
  const address = await server.address
  for (let n = 0; n < 3; n += 1) {
    const { id } = await submit(address, { prompt: `throw ${marker}`, negative_prompt: 'a secret of' })
    assert.equal((await untilFinal(address, id)).status, 'failed')
  }
  server.process.kill('SIGTERM')
  assert.equal(await server.ended, 0)
  const [event, ...more] = sentry.events()
  assert.deepEqual(more, [])
  assert.deepEqual(new Set(sentry.items()), new Set(['event']))
  assert.deepEqual(event?.fingerprint, ['job', 'generation_failed'])
  const { role, of, code, model, trace, attempts } = event?.tags ?? {}
  assert.deepEqual(
    { role, of, code, model, attempts },
    { role: 'worker', of: 'job', code: 'generation_failed', model: 'stand-in', attempts: '3' },
  )
  assert.deepEqual([event?.environment, event?.release], ['test', `packshot@${await packageVersion()}`])
  assert.ok(collector.spans().some(({ traceId }) => traceId === trace))
  assert.equal(event?.contexts?.trace?.trace_id, trace)
  const frames = event?.exception.values.flatMap(({ stacktrace }) => stacktrace?.frames ?? []) ?? []
  assert.ok(frames.some(({ filename }) => filename?.endsWith('stand-in/thread.ts')))
  // also in the words of the error that the engine threw
  for (const secret of ['zebrafish', 'a secret of']) assert.ok(!sentry.text().includes(secret), secret)
})

for (const part of ['server', 'worker'] as const)
  test(`an unhandled error of a ${part} is reported before it ends, without passwords, queries and headers`, async (t) => {
    const sentry = await startSentry(t)
    const go = join(tempFolder(t), 'go')
    const server = startServer(t, {
      PACKSHOT_DATA_DIR: tempFolder(t),
      NODE_OPTIONS: throwingLater(t, part, go),
      SENTRY_DSN: sentry.dsn,
    })
    await server.address
    writeFileSync(go, '')
    await waitFor(() => sentry.events().length > 0)
    if (part === 'server') assert.equal(await server.ended, 1)
    const [event] = sentry.events()
    const [value] = event?.exception.values ?? []
    assert.deepEqual(
      [event?.level, event?.tags.role, value?.type, value?.mechanism.handled],
      ['fatal', part, 'TypeError', false],
    )
    assert.match(value?.value ?? '', /https:\/\/db\.lan\/a/)
    assert.ok(!sentry.text().includes('hunter2'))
  })

test('5xx answers that are faults are reported, and what the client sent is not', async (t) => {
  const sentry = await startSentry(t)
  const folder = tempFolder(t)
  const server = startServer(t, {
    PACKSHOT_DATA_DIR: folder,
    PACKSHOT_QUEUE_MAX: '1',
    TEST_GATE: join(folder, 'gate'),
    SENTRY_DSN: sentry.dsn,
  })
  const address = await server.address
  const post = async (prompt: string) =>
    (
      await fetch(`${address}/v1/jobs?token=hunter2`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: 'Bearer hunter2' },
        body: JSON.stringify({ prompt }),
      })
    ).status
  await submit(address, { prompt: 'gate' })
  // a full queue is no fault
  assert.equal(await post(marker), 503)
  const damaged = new DatabaseSync(join(folder, 'packshot.sqlite'), { timeout: 30_000 })
  damaged.exec('DROP TABLE tasks')
  damaged.close()
  assert.ok((await post(marker)) >= 500)
  // the worker misses the table too
  const ofServer = () => sentry.events().find(({ tags }) => tags.role === 'server')
  await waitFor(() => ofServer() !== undefined)
  const event = ofServer()
  assert.deepEqual(event?.tags.route, '/v1/jobs')
  assert.ok(sentry.events().every(({ tags }) => tags.code !== 'queue_full'))
  for (const secret of ['zebrafish', 'hunter2']) assert.ok(!sentry.text().includes(secret), secret)
})

test('a project that hangs or refuses delays neither jobs nor the end', async (t) => {
  const held: ServerResponse[] = []
  const hangs = await startSentry(t, (response) => void held.push(response))
  const refuses = await startSentry(t, (response) => response.writeHead(403).end())
  for (const { dsn, receiver } of [hangs, refuses]) {
    const server = startServer(t, { PACKSHOT_DATA_DIR: tempFolder(t), SENTRY_DSN: dsn })
    const address = await server.address
    const { id } = await submit(address, { prompt: 'throw' })
    assert.equal((await untilFinal(address, id)).status, 'failed')
    await waitFor(() => receiver.messages.length > 0)
    const good = await submit(address, { prompt: 'a red apple' })
    assert.equal((await untilFinal(address, good.id)).status, 'succeeded')
    server.process.kill('SIGTERM')
    assert.equal(await server.ended, 0)
  }
  for (const response of held) response.end()
})

test('a wrong DSN and wrong settings of traces are said at startup, without what they contain', async (t) => {
  const server = startServer(t, {
    PACKSHOT_DATA_DIR: tempFolder(t),
    SENTRY_DSN: 'https://hunter2.example.com',
    OTEL_EXPORTER_OTLP_ENDPOINT: 'collector:4317/hunter2',
    OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc',
    OTEL_TRACES_SAMPLER: 'jaeger_remote',
    OTEL_TRACES_SAMPLER_ARG: '1.5',
    OTEL_BSP_MAX_QUEUE_SIZE: '0',
  })
  assert.equal(await server.ended, 1)
  const output = server.output()
  for (const name of [
    'SENTRY_DSN must be something like https://key@glitchtip.example.com/1, but was text of 27 characters',
    'OTEL_EXPORTER_OTLP_ENDPOINT must be the http:// or https:// address of an OTLP collector',
    'OTEL_EXPORTER_OTLP_PROTOCOL must be one of http/json, http/protobuf, but was "grpc"',
    'OTEL_TRACES_SAMPLER must be one of parentbased_always_on',
    'OTEL_TRACES_SAMPLER_ARG must be a number from 0 to 1',
    'OTEL_BSP_MAX_QUEUE_SIZE must be a whole number above 0',
  ])
    assert.ok(output.includes(name), `${name}\n${output}`)
  assert.ok(!output.includes('hunter2'))
})

test('without these variables no module of OpenTelemetry`s SDK or of Sentry is loaded, by server, worker or engine', async (t) => {
  const folder = tempFolder(t)
  const list = join(folder, 'modules')
  const hook = join(folder, 'list.mjs')
  writeFileSync(
    hook,
    `import { appendFileSync } from 'node:fs'
    import { registerHooks } from 'node:module'
    registerHooks({ load(url, context, next) { appendFileSync(${JSON.stringify(list)}, url + '\\n'); return next(url, context) } })`,
  )
  const env = { PACKSHOT_DATA_DIR: join(folder, 'data'), NODE_OPTIONS: `--import=${pathToFileURL(hook)}` }
  const modules = async (changes: Record<string, string>) => {
    writeFileSync(list, '')
    const server = startServer(t, { ...env, ...changes }, realServer, [])
    await server.address
    server.process.kill('SIGTERM')
    assert.equal(await server.ended, 0)
    return readFileSync(list, 'utf8').split('\n')
  }
  const isOfThem = (url: string) =>
    /@sentry|@opentelemetry\/(?!api\/)|adapters\/(sentry|opentelemetry)/.test(url)
  const plain = await modules({})
  assert.ok(plain.some((url) => url.includes('@opentelemetry/api')))
  assert.ok(plain.some((url) => url.endsWith('generator/inference-thread.ts')))
  assert.deepEqual(plain.filter(isOfThem), [])
  // the list would have them
  const sentry = await startSentry(t)
  assert.notDeepEqual((await modules({ SENTRY_DSN: sentry.dsn })).filter(isOfThem), [])
})
