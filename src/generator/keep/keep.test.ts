import assert from 'node:assert/strict'
import { test } from 'node:test'
import sharp from 'sharp'
import { pictureReader } from '../../adapters/pictures/picture-reader.ts'
import { findProduct } from '../../finish/placement.ts'
import type { Box } from '../../finish/raster.ts'
import type { ResolvedRequest } from '../../jobs/job.ts'
import { cut, maskAround } from './cut.ts'
import { deliveredSize, frameFor, type Size } from './frame.ts'
import { cutOut, inFrame, keptPhoto, onSet } from './keep.ts'

const reader = pictureReader()

/** Opaque in these boxes. */
function matte({ width, height }: Size, ...boxes: Box[]): Uint8Array {
  const alpha = new Uint8Array(width * height)
  for (const { left, top, width: across, height: down } of boxes) {
    for (let y = top; y < top + down; y += 1) alpha.fill(255, y * width + left, y * width + left + across)
  }
  return alpha
}

const box = (left: number, top: number, width: number, height: number): Box => ({ left, top, width, height })

function frameOf(photo: Size, product: Box, shape: number): Box {
  const found = findProduct(matte(photo, product), photo.width, photo.height)
  assert.ok(found !== undefined)
  return frameFor(photo, found, shape)
}

function contains(frame: Box, part: Box): boolean {
  return (
    frame.left <= part.left &&
    frame.top <= part.top &&
    frame.left + frame.width >= part.left + part.width &&
    frame.top + frame.height >= part.top + part.height
  )
}

test('a frame has the shape that is asked for, and the whole product with room around it', () => {
  const shapes = [1, 3 / 2, 2 / 3, 16 / 9, 9 / 16, 4]
  const photos = [
    { width: 300, height: 200 },
    { width: 200, height: 300 },
    { width: 400, height: 60 },
  ]
  const products = [
    [0.3, 0.3, 0.4, 0.4],
    [0.02, 0.1, 0.3, 0.8],
    [0.6, 0.05, 0.38, 0.3],
    [0.05, 0.05, 0.9, 0.9],
  ] as const
  for (const photo of photos) {
    for (const [x, y, w, h] of products) {
      const { width, height } = photo
      const product = box(
        ...([x * width, y * height, w * width, h * height].map(Math.round) as [
          number,
          number,
          number,
          number,
        ]),
      )
      for (const shape of shapes) {
        const frame = frameOf(photo, product, shape)
        const name = JSON.stringify({ photo, product, shape, frame })
        assert.ok(contains(frame, product), name)
        assert.ok(Math.abs(frame.width - frame.height * shape) <= 0.5 + shape / 2, name)
      }
    }
  }
})

test('the same shape is the whole photo, another the largest part of it that has the product', () => {
  const photo = { width: 300, height: 200 }
  assert.deepEqual(frameOf(photo, box(120, 60, 60, 60), 1.5), box(0, 0, 300, 200))
  assert.deepEqual(frameOf(photo, box(120, 60, 60, 60), 1), box(50, 0, 200, 200))
  // moved to the side where the product is, with room beside it
  assert.deepEqual(frameOf(photo, box(10, 60, 60, 60), 1), box(5, 0, 200, 200))
  assert.deepEqual(frameOf(photo, box(2, 60, 60, 60), 1), box(-3, 0, 200, 200))
})

test('an edge that cuts the product off is an edge of the frame', () => {
  const photo = { width: 300, height: 200 }
  const standing = frameOf(photo, box(120, 5, 60, 195), 0.5)
  assert.equal(standing.top + standing.height, 200)
  assert.ok(standing.top < 0)
  assert.equal(frameOf(photo, box(0, 60, 200, 60), 1).left, 0)
  // cut off at three edges: the frame goes on at the fourth
  assert.deepEqual(frameOf(photo, box(0, 0, 300, 190), 1), box(0, 0, 300, 300))
  // at all four: a wider frame would let it end in mid-air
  assert.deepEqual(frameOf(photo, box(0, 0, 300, 200), 2), box(0, 25, 300, 150))
})

test('the delivered picture has the pixels of the photo, those that were drawn, or the bound', () => {
  const drawn = { width: 64, height: 64 }
  assert.deepEqual(deliveredSize({ width: 300, height: 300 }, drawn, 1e6), {
    width: 300,
    height: 300,
  })
  assert.deepEqual(deliveredSize({ width: 32, height: 32 }, drawn, 1e6), { width: 64, height: 64 })
  assert.deepEqual(deliveredSize({ width: 300, height: 300 }, drawn, 22_500), {
    width: 150,
    height: 150,
  })
})

test('a cut repeats the edge or has nothing beyond it', () => {
  const pixels = Uint8Array.of(1, 2, 3, 4)
  const size = { width: 2, height: 2 }
  const frame = box(-1, -1, 4, 4)
  assert.deepEqual(
    [...cut(pixels, size, frame, { channels: 1, beyond: 'edge' })],
    [1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 4, 4, 3, 3, 4, 4],
  )
  assert.deepEqual(
    [...cut(pixels, size, frame, { channels: 1, beyond: 'nothing' })],
    [0, 0, 0, 0, 0, 1, 2, 0, 0, 3, 4, 0, 0, 0, 0, 0],
  )
  assert.deepEqual([...cut(pixels, size, box(1, 0, 1, 2), { channels: 1, beyond: 'edge' })], [2, 4])
  assert.deepEqual([...cut(pixels, size, box(5, 5, 1, 1), { channels: 1, beyond: 'nothing' })], [0])
  assert.deepEqual([...cut(pixels, size, box(5, -3, 2, 1), { channels: 1, beyond: 'edge' })], [2, 2])
})

test('the model draws all but the product without its edge', () => {
  const size = { width: 256, height: 256 }
  const mask = maskAround(matte(size, box(100, 100, 50, 50)), size)
  assert.deepEqual(
    mask,
    matte(size, box(102, 102, 46, 46)).map((value) => 255 - value),
  )
  // a product that is cut off has no edge there
  const cutOff = maskAround(matte(size, box(0, 200, 256, 56)), size)
  assert.deepEqual(
    cutOff,
    matte(size, box(0, 202, 256, 54)).map((value) => 255 - value),
  )
})

/** A red square on grey. */
async function photo(width: number, height: number, part: Box): Promise<Buffer> {
  const square = { create: { ...part, channels: 3 as const, background: '#c02010' } }
  return sharp({ create: { width, height, channels: 3, background: '#909090' } })
    .composite([{ input: square, left: part.left, top: part.top }])
    .removeAlpha()
    .png()
    .toBuffer()
}

const nobody = { alpha: async () => assert.fail('the matte is not asked') }
const finds = (part: Box) => ({ alpha: async ({ width, height }: Size) => matte({ width, height }, part) })

test('the product comes from the matte, from the transparency of the upload, or from a mask', async () => {
  const part = box(40, 30, 40, 60)
  const size = { width: 120, height: 120 }
  const init = await photo(120, 120, part)
  const expected = matte(size, part)
  const found = await keptPhoto({ init }, reader, finds(part))
  assert.deepEqual(found.alpha, expected)
  const open = await sharp(init)
    .joinChannel(Buffer.from(expected), { raw: { ...size, channels: 1 } })
    .png()
    .toBuffer()
  assert.deepEqual((await keptPhoto({ init: open }, reader, nobody)).alpha, expected)
  const white = expected.map((value) => 255 - value)
  const mask = await sharp(white, { raw: { ...size, channels: 1 } })
    .png()
    .toBuffer()
  assert.deepEqual((await keptPhoto({ init, mask }, reader, nobody)).alpha, expected)
  // smaller than the photo, and soft
  const half = await sharp(mask).resize(60, 60).png().toBuffer()
  const scaled = await keptPhoto({ init, mask: half }, reader, nobody)
  assert.deepEqual([scaled.alpha[60 * 120 + 60], scaled.alpha[10 * 120 + 10]], [255, 0])
})

test('a photo without a product, full of it, or too small is refused with what to do', async () => {
  const init = await photo(120, 120, box(40, 30, 40, 60))
  const constant = (value: number) => ({
    alpha: async ({ width, height }: Size) => new Uint8Array(width * height).fill(value),
  })
  const grey = (value: number) =>
    sharp({ create: { width: 120, height: 120, channels: 3, background: { r: value, g: value, b: value } } })
      .png()
      .toBuffer()
  const refused = { code: 'invalid_upload' }
  await assert.rejects(keptPhoto({ init }, reader, constant(0)), {
    ...refused,
    message: /No product was found.*mask/,
  })
  await assert.rejects(keptPhoto({ init }, reader, constant(255)), {
    ...refused,
    message: /fills the whole photo/,
  })
  await assert.rejects(keptPhoto({ init, mask: await grey(255) }, reader, nobody), {
    ...refused,
    message: /keeps nothing/,
  })
  await assert.rejects(keptPhoto({ init, mask: await grey(0) }, reader, nobody), {
    ...refused,
    message: /keeps the whole/,
  })
  const tiny = await photo(1, 1, box(0, 0, 1, 1))
  await assert.rejects(keptPhoto({ init: tiny }, reader, nobody), {
    ...refused,
    message: /1 x 1 pixels, too few/,
  })
})

test('in its frame the product has the pixels of the photo, and the model gets it in its own size', async () => {
  const part = box(40, 30, 40, 60)
  const init = await photo(120, 160, part)
  const kept = await keptPhoto({ init }, reader, finds(part))
  const { source, product } = await inFrame(kept, { width: 64, height: 64, strength: 1, pixels: 1e6 })
  assert.deepEqual([source.width, source.height, source.rgb.length], [64, 64, 64 * 64 * 3])
  assert.deepEqual([product.width, product.height], [120, 120])
  assert.deepEqual(
    [...product.rgb.subarray((60 * 120 + 60) * 3, (60 * 120 + 60) * 3 + 3)],
    [0xc0, 0x20, 0x10],
  )
  const small = await inFrame(kept, { width: 256, height: 256, strength: 1, pixels: 1e6 })
  assert.deepEqual([small.product.width, small.product.alpha.length], [256, 256 * 256])
})

test('the product stands on the set that was drawn: its pixels as they are, a shadow under it, the set elsewhere', async () => {
  const part = box(80, 60, 80, 120)
  const init = await photo(240, 240, part)
  const kept = await keptPhoto({ init }, reader, finds(part))
  const framed = await inFrame(kept, { width: 64, height: 64, strength: 1, pixels: 1e6 })
  const drawn = { rgb: new Uint8Array(64 * 64 * 3).fill(200), width: 64, height: 64 }
  // the model drew a product of its own behind it, and something else in a corner
  const ghost = matte(drawn, box(18, 10, 30, 40), box(2, 2, 6, 6))
  for (const [i, value] of ghost.entries()) if (value > 0) drawn.rgb.fill(20, i * 3, i * 3 + 3)
  const { rgb, alpha, width, height } = await onSet(framed, drawn, { alpha: async () => ghost })
  const at = (x: number, y: number) => [...rgb.subarray((y * width + x) * 3, (y * width + x) * 3 + 3)]
  assert.deepEqual([width, height, alpha.length], [240, 240, 240 * 240])
  assert.deepEqual([at(120, 120), at(84, 64), at(155, 175)], Array(3).fill([0xc0, 0x20, 0x10]))
  assert.deepEqual([at(40, 40), at(200, 30), at(20, 20)], [...Array(2).fill([200, 200, 200]), [20, 20, 20]])
  assert.ok((at(120, 180)[0] ?? 0) < 185, `${at(120, 180)}`)
  // nothing of the old grey beside it
  assert.ok(Math.abs((at(78, 120)[0] ?? 0) - 200) <= 4, `${at(78, 120)}`)
})

test('cut out, the product is alone in the frame of the photo, no larger than asked', async () => {
  const part = box(40, 30, 40, 60)
  const kept = await keptPhoto({ init: await photo(120, 160, part) }, reader, finds(part))
  for (const format of ['png', 'webp'] as const) {
    const { bytes, width, height } = await cutOut(kept, { width: 80, height: 80, format } as ResolvedRequest)
    const { data, info } = await sharp(bytes).raw().toBuffer({ resolveWithObject: true })
    assert.deepEqual([width, height, info.width, info.height, info.channels], [60, 80, 60, 80, 4])
    const opaque = (x: number, y: number) => data[(y * 60 + x) * 4 + 3]
    assert.deepEqual([opaque(30, 30), opaque(5, 5), opaque(55, 75)], [255, 0, 0])
  }
})

test('a frame that is many times as large as its photo stays within the bound', async () => {
  const part = box(10, 4, 20, 392)
  const kept = await keptPhoto({ init: await photo(50, 400, part) }, reader, finds(part))
  const { product } = await inFrame(kept, { width: 1024, height: 64, strength: 1, pixels: 200_000 })
  assert.ok(product.width * product.height <= 200_000, `${product.width} x ${product.height}`)
  assert.ok(Math.abs(product.width / product.height - 16) < 0.2)
  assert.ok(findProduct(product.alpha, product.width, product.height) !== undefined)
})
