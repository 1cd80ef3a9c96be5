import assert from 'node:assert/strict'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { tempFolder } from '../../test/cleanup.ts'
import { tinyCheckpoint } from '../../test/golden/parity/variants.ts'
import { waitFor } from '../../test/kit/waiting.ts'
import { models } from '../../test/models/command.ts'
import { send, serve } from '../../test/models/file-server.ts'
import { realServer, startServer, submit, untilFinal } from '../../test/service/server-process.ts'

test('a checkpoint that is added by URL while Packshot runs is offered, makes a picture, and is gone after its removal', async (t) => {
  const dir = tempFolder(t)
  writeFileSync(join(dir, 'first.safetensors'), readFileSync(tinyCheckpoint))
  const server = startServer(
    t,
    {
      PACKSHOT_DATA_DIR: tempFolder(t),
      PACKSHOT_MODELS_DIR: dir,
      PACKSHOT_MODEL: 'first',
      PACKSHOT_THREADS: '1',
    },
    realServer,
  )
  const address = await server.address
  const offered = async (): Promise<string[]> => {
    const answer = (await (await fetch(`${address}/v1/models`)).json()) as { models: { name: string }[] }
    return answer.models.map(({ name }) => name)
  }
  const ready = async () => (await fetch(`${address}/healthz/ready`)).json()
  assert.deepEqual(await offered(), ['first', 'packshot-mini'])
  assert.deepEqual(await ready(), { status: 'ready', models: ['first'], provider: 'cpu', profile: 'fast' })

  const bytes = readFileSync(tinyCheckpoint)
  const site = await serve(t, (served) => send(served, bytes, served.before === 0 ? { cutAt: 500_000 } : {}))
  const added = await models(dir, ['add', `${site.address}/second.safetensors`])
  assert.equal(added.status, 0, added.stderr)
  await waitFor(async () => (await offered()).includes('second'))
  writeFileSync(join(dir, 'broken.safetensors'), bytes.subarray(0, 1000))

  const small = { prompt: 'a red apple', width: 64, height: 64, steps: 2, seed: 7 }
  const job = await submit(address, { ...small, model: 'second' })
  const { status, images } = await untilFinal(address, job.id)
  assert.deepEqual([status, images.length], ['succeeded', 1])
  assert.deepEqual(((await ready()) as { models: string[] }).models, ['second', 'first'])

  await waitFor(async () => server.output().includes('a model file cannot be used'))
  assert.deepEqual(await offered(), ['first', 'second', 'packshot-mini'])
  assert.equal((await models(dir, ['remove', 'second'])).status, 0)
  await waitFor(async () => !(await offered()).includes('second'))
  const refused = await fetch(`${address}/v1/jobs`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ ...small, model: 'second' }),
  })
  assert.equal(refused.status, 400)
  assert.deepEqual(
    readdirSync(dir).filter((name) => name.startsWith('second')),
    [],
  )
})
