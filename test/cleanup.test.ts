import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { groupOf, lastFirst, ownCleanup, tempFolder } from './cleanup.ts'
import { ownEnvironment, ownOptions } from './kit/own-environment.ts'
import { waitFor } from './kit/waiting.ts'
import { isAlive } from './service/server-process.ts'

test('a cleanup does the last first, and the rest though one rejects', async () => {
  const cleanup = ownCleanup()
  const done: string[] = []
  const folder = tempFolder(cleanup)
  lastFirst(cleanup).after(() => done.push(`first, with its folder: ${existsSync(folder)}`))
  cleanup.after(async () => {
    throw new Error('in vain')
  })
  cleanup.after(() => done.push('last'))
  await assert.rejects(cleanup.end(), /in vain/)
  assert.deepEqual(done, ['last', 'first, with its folder: true'])
  assert.equal(existsSync(folder), false)
  await cleanup.end()
})

test('what is started late is part of its group, which ends after what came after the group', async () => {
  const cleanup = ownCleanup()
  const done: string[] = []
  const service = groupOf(cleanup)
  cleanup.after(() => done.push('who uses the service'))
  service.after(() => done.push('the service, started again'))
  await cleanup.end()
  assert.deepEqual(done, ['who uses the service', 'the service, started again'])
})

test('a file that hangs is ended, with what it started, and fails by the name of its test', async (t) => {
  const folder = tempFolder(t)
  const [file, pidFile] = [join(folder, 'hangs.test.ts'), join(folder, 'pid')]
  const runnerFile = join(folder, 'runner.ts')
  const here = (path: string) => JSON.stringify(join(import.meta.dirname, path))
  const hangs = `
    import { writeFileSync } from 'node:fs'
    import { test } from 'node:test'
    import { startServer } from ${here('service/server-process.ts')}
    test('waits for what never comes', async () => {
      const server = startServer({ after() {} }, { PACKSHOT_DATA_DIR: ${JSON.stringify(folder)} })
      await server.address
      writeFileSync(${JSON.stringify(pidFile)}, String(server.process.pid))
      await new Promise(() => {})
    })`
  writeFileSync(file, hangs)
  const runner = `
    import { PassThrough } from 'node:stream'
    import { inspect } from 'node:util'
    import { runFile } from ${here('kit/run-file.ts')}
    const [reporter, { signal }] = [new PassThrough({ objectMode: true }), new AbortController()]
    const counts = await runFile(${JSON.stringify(file)}, [], { reporter, signal, computes: false, longestMs: 4000 })
    console.log(counts.passed, inspect(await reporter.end().toArray(), { depth: 9 }))`
  writeFileSync(runnerFile, runner)
  const { stdout } = await promisify(execFile)(process.execPath, [...ownOptions(), runnerFile], {
    env: ownEnvironment(),
  })
  assert.match(stdout, /^0 .*The file did not end in time: waits for what never comes/s)
  const server = Number(readFileSync(pidFile, 'utf8'))
  await waitFor(() => !isAlive(server))
})
