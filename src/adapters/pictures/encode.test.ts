import assert from 'node:assert/strict'
import { test } from 'node:test'
import sharp from 'sharp'
import { commentIn } from '../../../test/kit/exif.ts'
import { encodeLossy } from './encode.ts'
import { withExif } from './exif.ts'

const [width, height] = [37, 21]
const rgb = Uint8Array.from({ length: width * height * 3 }, (_, i) => (i * 7) % 256)
const formats = ['jpeg', 'webp'] as const

for (const format of formats) {
  test(`a ${format} has the picture, and the settings in EXIF in any script`, async () => {
    for (const parameters of ['a red apple\nSteps: 20', 'りんご 🍎, "x": é', '', 'odd']) {
      const file = await encodeLossy({ rgb, width, height }, { format, quality: 95, parameters })
      const found = await sharp(file).metadata()
      assert.deepEqual([found.format, found.width, found.height], [format, width, height])
      assert.equal(commentIn(found.exif), parameters)
      const { data } = await sharp(file).raw().toBuffer({ resolveWithObject: true })
      assert.equal(data.length, rgb.length)
    }
  })

  test(`a ${format} is the same for the same picture, and larger at a higher quality`, async () => {
    const of = (quality: number) => encodeLossy({ rgb, width, height }, { format, quality, parameters: 'x' })
    const [low, high, again] = [await of(30), await of(95), await of(95)]
    assert.ok(low.byteLength < high.byteLength)
    assert.deepEqual(again, high)
  })
}

test('what is no such file, and a comment that no JPEG can hold, are refused', async () => {
  const options = { width, height, comment: 'x' }
  const png = await sharp(rgb, { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer()
  for (const format of formats) {
    assert.throws(() => withExif(png, { ...options, format }), /not a/)
    const file = await encodeLossy({ rgb, width, height }, { format, quality: 90, parameters: '' })
    if (format === 'webp') assert.throws(() => withExif(file, { ...options, format }), /has EXIF/)
    else assert.throws(() => withExif(file, { ...options, format, comment: 'x'.repeat(40_000) }), /too long/)
  }
})
