import assert from 'node:assert/strict'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { lastFirst, tempFolder } from '../../test/cleanup.ts'
import { waitFor } from '../../test/kit/waiting.ts'
import { standInEngine } from '../../test/stand-in/engine.ts'
import { startAllInOne } from './all-in-one.ts'

test('a server without a worker is not ready, accepts jobs all the same, and is ready when there is one again', async (t) => {
  const folder = tempFolder(t)
  const [entry, pid] = [join(folder, 'worker.mjs'), join(folder, 'pid')]
  const program = `
    import { writeFileSync } from 'node:fs'
    for (const event of ['disconnect', 'message']) process.on(event, () => process.exit())
    writeFileSync(${JSON.stringify(pid)}, String(process.pid))
    process.send({ type: 'ready' })`
  writeFileSync(entry, program)
  const env = {
    ...process.env,
    PORT: '0',
    PACKSHOT_DATA_DIR: join(folder, 'data'),
    PACKSHOT_LOG_LEVEL: 'silent',
    PACKSHOT_SHUTDOWN_SECONDS: '0',
  }
  const running = await startAllInOne(env, {
    workerEntry: pathToFileURL(entry),
    openOffer: standInEngine.openOffer,
  })
  lastFirst(t).after(() => running.kill())
  const address = running.banner.split(' ')[0]
  const ready = async () => (await fetch(`${address}/healthz/ready`)).status
  assert.equal(await ready(), 200)
  // whatever is started now ends at once
  rmSync(entry)
  process.kill(Number(readFileSync(pid, 'utf8')), 'SIGKILL')
  await waitFor(async () => (await ready()) === 503)
  const headers = { 'content-type': 'application/json' }
  const body = JSON.stringify({ prompt: 'a red apple' })
  assert.equal((await fetch(`${address}/v1/jobs`, { method: 'POST', headers, body })).status, 202)
  assert.equal(await ready(), 503)
  writeFileSync(entry, program)
  await waitFor(async () => (await ready()) === 200)
  await running.stop()
})
