import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { openEngine } from '../../src/diffusion/engine.ts'
import { lastFirst } from '../cleanup.ts'
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
  const engine = await openEngine({ model: modelDir, provider: 'cpu', threads: 1 })
  lastFirst(t).after(() => engine.close())
  const picture = await engine.generate(engineRequestOf(golden.meta.picture.request))
  const difference = pixelDifference(picture.rgb, golden.bytes('picture.pixels'))
  assert.ok(difference <= 2, `a channel differs by ${difference} of 255`)
})

test('packshot-mini makes a picture of something from any text', async (t) => {
  const engine = await openEngine({ model: modelDir, provider: 'cpu', threads: 1 })
  lastFirst(t).after(() => engine.close())
  const texts = {
    'no known word': 'xyzzy frobnicated quux',
    German: 'ein roter Apfel auf weißem Papier',
    Chinese: '白色背景上的一个红苹果',
    emoji: '🍎🍏',
    'a sign alone': '!',
    '2000 characters': 'qwertz '.repeat(286).slice(0, 2000),
  }
  for (const [what, prompt] of Object.entries(texts)) {
    const { rgb } = await engine.generate({
      ...{ prompt, negativePrompt: '', width: 256, height: 256, steps: 6, guidanceScale: 3.5, seed: 1 },
      ...{ sampler: 'dpmpp_2m', schedule: 'karras' },
    })
    const mean = rgb.reduce((sum, value) => sum + value, 0) / rgb.length
    const spread = Math.sqrt(rgb.reduce((sum, value) => sum + (value - mean) ** 2, 0) / rgb.length)
    assert.ok(
      spread > 5,
      `${what}: the picture is flat, it differs from its mean by ${spread.toFixed(1)} of 255`,
    )
  }
})

test('previews come nearer to the picture', async (t) => {
  const engine = await openEngine({ model: modelDir, provider: 'cpu', threads: 1 })
  lastFirst(t).after(() => engine.close())
  const seen: Uint8Array[] = []
  const { rgb } = await engine.generate(
    {
      ...{ prompt: 'a red apple on white', negativePrompt: '', width: 256, height: 256 },
      ...{ steps: 10, guidanceScale: 3.5, seed: 1, sampler: 'dpmpp_2m', schedule: 'karras' },
    },
    { previews: { count: 3, show: (picture) => void seen.push(picture.rgb) } },
  )
  const distances = seen.map(
    (preview) => preview.reduce((sum, value, i) => sum + Math.abs(value - rgb[i]!), 0) / rgb.length,
  )
  const [first = 0, second = 0, third = 0] = distances
  assert.ok(first > second && second > third && third > 0, `${distances.join(', ')} of 255`)
})
