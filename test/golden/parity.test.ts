import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { singleFileOf } from './parity/ldm-layout.ts'
import { type Content, parityDir, readContent, tinyCheckpoint } from './parity/variants.ts'
import { rows } from './parity-rows/pictures.ts'
import type { ParityRow } from './parity-rows/row.ts'

test('whole pictures equal those of diffusers', async (t) => {
  const all: ParityRow[] = []
  for await (const row of rows()) all.push(row)
  const areas = Map.groupBy(all, ({ area }) => area)
  for (const [area, found] of areas) {
    await t.test(area, () => {
      const over = found.filter(({ difference, limit }) => !(difference <= limit))
      assert.deepEqual(
        over.map(({ row, difference }) => `${row}: ${difference}/255`),
        [],
      )
    })
  }
})

test('the pictures belong to the files that lie here', () => {
  const { sha256 } = JSON.parse(readFileSync(join(parityDir, 'pictures.json'), 'utf8'))
  for (const [file, expected] of Object.entries(sha256)) {
    const bytes = readFileSync(join(parityDir, file))
    assert.equal(
      createHash('sha256').update(bytes).digest('hex'),
      expected,
      `${file}: make the pictures again`,
    )
  }
})

test('a folder becomes the same single file here as in Python', async () => {
  const shapesOf = ({ tensors }: Content) =>
    [...tensors].map(([key, { shape }]) => `${key} [${shape.join(', ')}]`).toSorted()
  const made = await singleFileOf(join(parityDir, '../tiny-sd'))
  assert.deepEqual(shapesOf(made), shapesOf(await readContent(tinyCheckpoint)))
})
