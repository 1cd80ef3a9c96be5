import assert from 'node:assert/strict'
import { cpSync, existsSync, mkdirSync, readdirSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { tempFolder } from '../../test/cleanup.ts'
import { openEngine } from '../diffusion/engine.ts'
import { SessionCache } from '../diffusion/runtime/session-cache.ts'
import { removeUnused, unusedDays } from './unused-weights.ts'

const tiny = join(import.meta.dirname, '../../test/golden/tiny-sd')
const dayMs = 86_400_000

/** Every file and folder below, as if it had been written and read for the last time so many days ago. */
function age(folder: string, days: number): void {
  const at = new Date(Date.now() - days * dayMs)
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  for (const name of names) utimesSync(join(folder, name), at, at)
}

const filesIn = (folder: string) =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => statSync(join(folder, name)).isFile())
    .toSorted()

test('copies of a model that nobody used for a month are deleted, and made again when it is used', async (t) => {
  const [models, cache] = [tempFolder(t), join(tempFolder(t), 'weights')]
  const request = {
    prompt: 'a red apple',
    negativePrompt: '',
    width: 64,
    height: 64,
    steps: 1,
    guidanceScale: 5,
    sampler: 'dpmpp_2m',
    schedule: 'karras',
    seed: 7,
  } as const
  const draw = async (name: string, profile: 'dense' | 'packed') => {
    const model = join(models, name)
    const sessions = new SessionCache<never>(2 ** 30)
    const options = { model, provider: 'cpu', profile, threads: 1, cacheFolder: cache, sessions } as const
    const engine = await openEngine(options)
    const exact = await engine.generate(request)
    await engine.generate({ ...request, precision: 'int8' })
    await engine.close()
    return exact.rgb
  }
  for (const name of ['old', 'new']) cpSync(tiny, join(models, name), { recursive: true })
  const before = await draw('old', 'dense')
  await draw('old', 'packed')
  const ofOld = filesIn(cache)
  for (const kind of [/^packed\//, /^unet\/.*float32/, /^unet\/.*int8/, /^vae\/.*int8/])
    assert.ok(
      ofOld.some((name) => kind.test(name)),
      `${kind} in ${ofOld}`,
    )
  age(cache, unusedDays + 1)
  await draw('new', 'dense')
  await draw('new', 'packed')
  const all = filesIn(cache)
  const foreign = join(cache, 'unet/notes of the operator.safetensors')
  writeFileSync(foreign, 'x')
  utimesSync(foreign, 1, 1)

  const bytes = ofOld.reduce((sum, name) => sum + statSync(join(cache, name)).size, 0)
  assert.equal(await removeUnused(cache), bytes)
  const left = filesIn(cache).filter((name) => !foreign.endsWith(name))
  assert.deepEqual(
    left,
    all.filter((name) => !ofOld.includes(name)),
  )
  assert.ok(existsSync(foreign))
  assert.equal(await removeUnused(cache), 0)
  assert.deepEqual(await draw('old', 'dense'), before)
})

test('what was read not long ago stays, however old it is; what a process left behind goes', async (t) => {
  const cache = tempFolder(t)
  const hash = 'a'.repeat(24)
  for (const name of [`packed/unet-${hash}`, `packed/vae-${hash}.partial`, 'text'])
    mkdirSync(join(cache, name), { recursive: true })
  const copy = join(cache, `text/model-${'b'.repeat(16)}.float32.safetensors`)
  for (const path of [
    join(cache, `packed/unet-${hash}/weights.bin`),
    join(cache, `packed/vae-${hash}.partial/weights.bin`),
    copy,
    `${copy}.1.partial`,
  ])
    writeFileSync(path, 'four')
  age(cache, 3 * unusedDays)
  const [read, written] = [new Date(Date.now() - dayMs), new Date(Date.now() - 90 * dayMs)]
  utimesSync(join(cache, `packed/unet-${hash}/weights.bin`), read, written)
  utimesSync(copy, read, written)
  assert.equal(await removeUnused(cache), 8)
  assert.deepEqual(filesIn(cache), [
    `packed/unet-${hash}/weights.bin`,
    `text/model-${'b'.repeat(16)}.float32.safetensors`,
  ])
})

test('without the folder there is nothing to delete', async (t) => {
  assert.equal(await removeUnused(join(tempFolder(t), 'never')), 0)
})
