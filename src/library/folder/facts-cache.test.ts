import assert from 'node:assert/strict'
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { tempFolder } from '../../../test/cleanup.ts'
import { tinyCheckpoint } from '../../../test/golden/parity/variants.ts'
import { Library } from '../library.ts'

const padding = 9_000_000

/** A model whose header ends with so many spaces that reading it shows in the process's byte count. */
function paddedModel(): Buffer {
  const bytes = readFileSync(tinyCheckpoint)
  const length = Number(bytes.readBigUInt64LE(0))
  const prefix = Buffer.alloc(8)
  prefix.writeBigUInt64LE(BigInt(length + padding))
  return Buffer.concat([
    prefix,
    bytes.subarray(8, 8 + length),
    Buffer.alloc(padding, ' '),
    bytes.subarray(8 + length),
  ])
}

/** How often such a header was read during the action, by the system's count of bytes read by this process. */
async function headerReads(action: () => Promise<unknown>): Promise<number> {
  const bytesRead = () => Number(/^rchar: (\d+)$/m.exec(readFileSync('/proc/self/io', 'utf8'))?.[1])
  const before = bytesRead()
  await action()
  return Math.floor((bytesRead() - before) / padding)
}

test('a header is read once for each change of a file', {
  skip: process.platform !== 'linux' && 'only Linux counts the bytes that a process reads',
}, async (t) => {
  const dir = tempFolder(t)
  const path = join(dir, 'one.safetensors')
  writeFileSync(path, paddedModel())
  const library = new Library({ model: 'one', modelsDir: dir })
  assert.equal(await headerReads(() => library.read()), 1, 'identified, described and offered')
  assert.equal(await headerReads(() => library.read()), 0, 'nothing changed')

  cpSync(tinyCheckpoint, join(dir, 'two.safetensors'))
  assert.equal(await headerReads(() => library.read()), 0, 'another file came')
  assert.deepEqual(
    (await library.read()).models.map(({ name }) => name),
    ['one', 'two', 'packshot-mini'],
  )

  writeFileSync(join(dir, 'one.json'), '{"steps": 9}')
  assert.equal(await headerReads(() => library.read()), 1, 'its defaults changed')
  assert.equal((await library.read()).models[0]?.steps, 9)
  rmSync(join(dir, 'two.safetensors'))
  writeFileSync(path, paddedModel())
  assert.equal(await headerReads(() => library.read()), 1, 'it was rewritten')
})

test('a model elsewhere, named by its path, is read once as well', {
  skip: process.platform !== 'linux',
}, async (t) => {
  const path = join(tempFolder(t), 'elsewhere.safetensors')
  writeFileSync(path, paddedModel())
  const library = new Library({ model: path, modelsDir: tempFolder(t) })
  assert.equal(await headerReads(() => library.read()), 1)
})
