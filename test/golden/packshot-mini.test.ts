import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { openEngine } from '../../src/diffusion/engine.ts'
import { engineRequestOf, loadGolden, type PictureMeta, pixelDifference } from './golden.ts'

const modelDir = join(import.meta.dirname, '../../models/packshot-mini')

test('packshot-mini makes the picture that diffusers makes of it', async (t) => {
  const golden = await loadGolden<PictureMeta>('packshot-mini')
  for (const [file, sha256] of Object.entries(golden.meta.weights_sha256)) {
    const actual = createHash('sha256')
      .update(readFileSync(join(modelDir, file)))
      .digest('hex')
    assert.equal(actual, sha256, `${file} was trained anew: make the golden picture again (README.md)`)
  }
  const engine = await openEngine({ model: modelDir, provider: 'cpu' })
  t.after(() => engine.close())
  const picture = await engine.generate(engineRequestOf(golden.meta.picture.request))
  const difference = pixelDifference(picture.rgb, golden.bytes('picture.pixels'))
  assert.ok(difference <= 2, `a channel differs by ${difference} of 255`)
})
