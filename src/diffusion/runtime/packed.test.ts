import assert from 'node:assert/strict'
import { appendFile, mkdir, readdir, stat, truncate, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { tempFolder } from '../../../test/cleanup.ts'
import { openModel } from '../checkpoint/model.ts'
import { Weights } from '../checkpoint/weights.ts'
import { vaeDecoderGraph } from '../models/vae.ts'
import { packedSession } from './packed.ts'
import { Session } from './session.ts'

const tiny = join(import.meta.dirname, '../../../test/golden/tiny-sd')
const options = { provider: 'cpu', threads: 1 } as const
const latent = { data: Float32Array.from({ length: 4 * 64 }, (_, i) => Math.sin(i)), dims: [1, 4, 8, 8] }

/** The decoder of the tiny model, and what it computes with weights in private memory. */
async function decoder(t: TestContext) {
  const { vae, architecture } = await openModel(tiny)
  const graph = vaeDecoderGraph(architecture.vae, new Weights(vae), 8, 8)
  const plain = await Session.create(graph, vae.folder, options)
  const wanted = await plain.run({ latent })
  await plain.release()
  const folder = join(tempFolder(t), 'packed')
  const warnings: string[] = []
  /** The same picture as with private weights, bit for bit; answers with the folders that are there. */
  const decodes = async ({ weights = 'one', machine = 'here', place = folder } = {}) => {
    const where = { folder: place, part: 'decoder', weights, machine }
    const session = await packedSession(graph, vae.folder, where, options, (line) => void warnings.push(line))
    assert.deepEqual(await session.run({ latent }), wanted)
    await session.release()
    return (await readdir(folder)).sort()
  }
  const stampOf = async (name: string) => {
    const { ino, mtimeNs } = await stat(join(folder, name, 'weights.bin'), { bigint: true })
    return `${ino} ${mtimeNs}`
  }
  return { folder, decodes, stampOf, warnings }
}

test('a second session maps what the first wrote; other weights and another machine have files of their own', async (t) => {
  const { decodes, stampOf, warnings } = await decoder(t)
  const [name = ''] = await decodes()
  const stamp = await stampOf(name)
  assert.deepEqual(await decodes(), [name])
  assert.equal(await stampOf(name), stamp, 'nothing is written twice')
  assert.equal((await decodes({ weights: 'two' })).length, 2)
  assert.equal((await decodes({ machine: 'elsewhere' })).length, 3)
  assert.deepEqual(warnings, [])
})

test('damaged files are packed again', async (t) => {
  const { folder, decodes, stampOf } = await decoder(t)
  const [name = ''] = await decodes()
  for (const damage of [
    () => truncate(join(folder, name, 'weights.bin'), 100),
    () => appendFile(join(folder, name, 'graph.onnx'), 'x'),
    () => writeFile(join(folder, name, 'packed.json'), '{'),
  ]) {
    await damage()
    const before = await stampOf(name)
    assert.deepEqual(await decodes(), [name])
    assert.notEqual(await stampOf(name), before, String(damage))
  }
})

test('what another process packs is left to it, unless it was left long ago', async (t) => {
  const { folder, decodes } = await decoder(t)
  const [name = ''] = await decodes()
  const [unfinished, finished] = [join(folder, `${name}.partial`), join(folder, name)]
  await mkdir(unfinished)
  await writeFile(join(finished, 'packed.json'), '')
  assert.deepEqual(await decodes(), [name, `${name}.partial`])
  await utimes(unfinished, 1, 1)
  assert.deepEqual(await decodes(), [name])
})

test('without a place to write to, weights are packed into memory, and the log says why', async (t) => {
  const { folder, decodes, warnings } = await decoder(t)
  await mkdir(folder)
  await writeFile(join(folder, 'file'), '')
  await decodes({ place: join(folder, 'file', 'below') })
  assert.match(warnings.join(), /^Packed weights cannot be kept in .*ENOTDIR.*: loading takes longer\.$/)
})
