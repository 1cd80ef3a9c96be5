import assert from 'node:assert/strict'
import { test } from 'node:test'
import { crc32, deflateSync } from 'node:zlib'
import sharp from 'sharp'
import { AppError } from '../../jobs/errors.ts'
import { pictureReader } from './picture-reader.ts'

const limits = { bytes: 1e6, pixels: 1e6, longest: 3000, kept: 512 * 512 }
const reader = pictureReader()

/** Red on the left half and blue on the right, lighter towards the bottom. */
function twoSides(width: number, height: number) {
  const data = Buffer.alloc(width * height * 3)
  for (let i = 0; i < width * height; i += 1) {
    data[i * 3 + (i % width < width / 2 ? 0 : 2)] = 255
    data[i * 3 + 1] = Math.floor((Math.floor(i / width) * 200) / height)
  }
  return sharp(data, { raw: { width, height, channels: 3 } })
}

const rawOf = async (png: Uint8Array) => sharp(png).raw().toBuffer({ resolveWithObject: true })

test('a picture of the right kind is kept pixel for pixel', async () => {
  const original = twoSides(60, 40)
  const png = await original.clone().png().toBuffer()
  const kept = await reader.normalise(png, limits)
  assert.deepEqual([kept.width, kept.height], [60, 40])
  const [a, b] = [await rawOf(png), await rawOf(kept.png)]
  assert.ok(a.data.equals(b.data) && b.info.channels === 3)
  const fitted = await reader.fit(kept.png, 60, 40, 'picture')
  assert.deepEqual(Buffer.from(fitted.pixels), a.data)
})

test('it is turned as the camera says, and nothing but pixels stays', async () => {
  const jpeg = await twoSides(60, 40)
    .withMetadata({ orientation: 6 })
    .withExifMerge({ IFD0: { Copyright: 'a secret' } })
    .withIccProfile('p3')
    .jpeg({ quality: 100 })
    .toBuffer()
  assert.equal((await sharp(jpeg).metadata()).orientation, 6)
  const { png, width, height } = await reader.normalise(jpeg, limits)
  assert.deepEqual([width, height], [40, 60])
  const { exif, icc, orientation, channels, depth } = await sharp(png).metadata()
  assert.deepEqual([exif, icc, orientation, channels, depth], [undefined, undefined, undefined, 3, 'uchar'])
  assert.equal(Buffer.from(png).includes('a secret'), false)
  const { data } = await rawOf(png)
  // rotated by 90 degrees clockwise, the left (red) side is at the top
  assert.ok((data[0] ?? 0) > 180 && (data[2] ?? 0) < 90, `${data.subarray(0, 3).join()}`)
})

test('grey, 16 bit, CMYK and palettes become RGB of 8 bits', async () => {
  const files = [
    await twoSides(8, 8).greyscale().png().toBuffer(),
    await twoSides(8, 8).toColourspace('rgb16').png().toBuffer(),
    await twoSides(8, 8).toColourspace('cmyk').jpeg().toBuffer(),
    await twoSides(8, 8).png({ palette: true }).toBuffer(),
    await twoSides(8, 8).webp().toBuffer(),
  ]
  for (const file of files) {
    const { channels, depth, format, space } = await sharp(
      (await reader.normalise(file, limits)).png,
    ).metadata()
    assert.deepEqual([channels, depth, format, space], [3, 'uchar', 'png', 'srgb'])
  }
})

test('of a large picture as many pixels are kept as the limit says', async () => {
  const photo = await twoSides(1200, 800).jpeg().toBuffer()
  const { png, width, height } = await reader.normalise(photo, limits)
  assert.deepEqual([width, height], [627, 418])
  assert.equal((await sharp(png).metadata()).width, 627)
  assert.equal((await reader.normalise(photo, { ...limits, kept: 1200 * 800 })).width, 1200)
})

test('what is too large, moves, or is damaged is refused with a sentence', async () => {
  const png = await twoSides(60, 40).png().toBuffer()
  const frames = Array.from({ length: 3 }, (_, i) => Buffer.alloc(16 * 16 * 3, i * 80))
  const moving = await sharp(Buffer.concat(frames), {
    raw: { width: 16, height: 48, channels: 3, pageHeight: 16 },
  })
    .webp({ loop: 0, delay: [100, 100, 100] })
    .toBuffer()
  const bomb = Buffer.from(png)
  bomb.writeUInt32BE(60_000, 16)
  bomb.writeUInt32BE(60_000, 20)
  const svg = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>')
  const cases: [Buffer, RegExp][] = [
    [
      await twoSides(2000, 1000).jpeg().toBuffer(),
      /at most 1 megapixels, but has 2000 x 1000 \(2 megapixels\)/,
    ],
    [moving, /still image, but has several frames/],
    [png.subarray(0, png.length - 40), /damaged or was cut short/],
    [png.subarray(0, 20), /damaged or was cut short/],
    [(await twoSides(60, 40).jpeg().toBuffer()).subarray(0, 400), /damaged or was cut short/],
    [bomb, /megapixels|damaged/],
    [Buffer.from('hello'), /damaged or was cut short/],
    [svg, /must be PNG, JPEG or WebP, but was svg/],
  ]
  for (const [bytes, message] of cases) {
    await assert.rejects(reader.normalise(bytes, limits), { code: 'invalid_upload', message })
  }
})

test('another shape is covered, and the rest cut off evenly', async () => {
  const { png } = await reader.normalise(await twoSides(400, 100).png().toBuffer(), limits)
  const { pixels } = await reader.fit(png, 64, 64, 'picture')
  assert.equal(pixels.length, 64 * 64 * 3)
  const row = 32 * 64 * 3
  assert.deepEqual([pixels[row], pixels[row + 2]], [255, 0])
  assert.deepEqual([pixels[row + 63 * 3], pixels[row + 63 * 3 + 2]], [0, 255])
})

test('what is transparent is white in a picture, and is repainted in a mask', async () => {
  const hole = { raw: { width: 4, height: 4, channels: 4 as const } }
  const data = Buffer.alloc(64, 255)
  for (let i = 0; i < 8; i += 1) data.set([0, 0, 0, 0], i * 4)
  for (let i = 8; i < 16; i += 1) data.set([10, 10, 10, 255], i * 4)
  const { png } = await reader.normalise(await sharp(data, hole).png().toBuffer(), limits)
  assert.equal((await sharp(png).metadata()).channels, 4)
  const mask = await reader.fit(png, 4, 4, 'mask')
  assert.deepEqual([...mask.pixels], [...Array(8).fill(255), ...Array(8).fill(0)])
  const picture = await reader.fit(png, 4, 4, 'picture')
  assert.deepEqual(
    [...picture.pixels.subarray(0, 3), ...picture.pixels.subarray(45)],
    [255, 255, 255, 10, 10, 10],
  )
})

test('white is repainted in a mask, black stays, and there is nothing between them', async () => {
  const stripes = Buffer.alloc(64 * 64 * 3)
  for (let i = 0; i < 64 * 64; i += 1) if (i % 64 < 32) stripes.fill(255, i * 3, i * 3 + 3)
  const { png } = await reader.normalise(
    await sharp(stripes, { raw: { width: 64, height: 64, channels: 3 } })
      .jpeg()
      .toBuffer(),
    limits,
  )
  const { pixels } = await reader.fit(png, 16, 16, 'mask')
  assert.equal(pixels.length, 256)
  assert.deepEqual([...pixels.subarray(0, 16)], [...Array(8).fill(255), ...Array(8).fill(0)])
})

const solid = (width: number, height: number) =>
  sharp({ create: { width, height, channels: 3, background: '#c33' }, limitInputPixels: false })

test('a shape that no picture needs is refused before it is decoded, in every format', async () => {
  const wide = { ...limits, pixels: 24e6, longest: 16_384 }
  const files: [Buffer, RegExp][] = [
    [await solid(1, 200_000).png().toBuffer(), /at most 16384 pixels on each side, but has 1 x 200000/],
    [await solid(200_000, 1).png().toBuffer(), /at most 16384 pixels on each side/],
    [await solid(4000, 400).webp().toBuffer(), /at most 8 times as long as the other, but it has 4000 x 400/],
    [await solid(9000, 1000).webp({ lossless: true }).toBuffer(), /at most 8 times/],
    [await solid(60_000, 100).jpeg().toBuffer(), /at most 16384 pixels/],
    [await solid(900, 100).jpeg({ progressive: true }).toBuffer(), /at most 8 times/],
    [await solid(900, 100).ensureAlpha(0.5).webp().toBuffer(), /at most 8 times/],
  ]
  for (const [file, message] of files) {
    await assert.rejects(reader.normalise(file, wide), { code: 'invalid_upload', message })
  }
  assert.equal((await reader.normalise(await solid(800, 100).png().toBuffer(), wide)).width, 800)
})

test('a stored picture is read at its own size, with its transparency apart', async () => {
  const whole = await reader.read(await twoSides(60, 40).png().toBuffer())
  assert.deepEqual([whole.width, whole.height, whole.rgb.length, whole.alpha], [60, 40, 7200, undefined])
  const data = Buffer.from([10, 20, 30, 255, 40, 50, 60, 128])
  const half = await sharp(data, { raw: { width: 2, height: 1, channels: 4 } })
    .png()
    .toBuffer()
  const { rgb, alpha } = await reader.read(half)
  assert.deepEqual([...rgb, ...(alpha ?? [])], [10, 20, 30, 40, 50, 60, 255, 128])
})

test('what a mask keeps may be soft, and is what black or the opaque part covers', async () => {
  const ramp = Buffer.from([0, 0, 0, 128, 128, 128, 255, 255, 255])
  const grey = await sharp(ramp, { raw: { width: 3, height: 1, channels: 3 } })
    .png()
    .toBuffer()
  assert.deepEqual([...(await reader.fit(grey, 3, 1, 'kept')).pixels], [255, 127, 0])
  const cut = Buffer.from([255, 255, 255, 255, 9, 9, 9, 100, 0, 0, 0, 0])
  const open = await sharp(cut, { raw: { width: 3, height: 1, channels: 4 } })
    .png()
    .toBuffer()
  assert.deepEqual([...(await reader.fit(open, 3, 1, 'kept')).pixels], [255, 100, 0])
})

test('photos as cameras make them keep every pixel that the limit allows: 16 bit, CMYK, on their side, one pixel', async () => {
  const all = { ...limits, kept: 1e6 }
  const side = await twoSides(60, 40).withMetadata({ orientation: 6 }).jpeg().toBuffer()
  const files: [Buffer, number, number][] = [
    [await twoSides(60, 40).toColourspace('rgb16').png().toBuffer(), 60, 40],
    [await twoSides(60, 40).toColourspace('cmyk').jpeg().toBuffer(), 60, 40],
    [side, 40, 60],
    [await twoSides(1, 1).png().toBuffer(), 1, 1],
    [await twoSides(60, 40).toColourspace('grey16').ensureAlpha(0.5).png().toBuffer(), 60, 40],
  ]
  for (const [file, width, height] of files) {
    const { rgb, ...size } = await reader.read((await reader.normalise(file, all)).png)
    assert.deepEqual([size.width, size.height, rgb.length], [width, height, 3 * width * height])
  }
})

test('a picture that moves is refused in PNG as in WebP', async () => {
  const png = await twoSides(60, 40).png().toBuffer()
  const control = Buffer.alloc(20)
  control.writeUInt32BE(8, 0)
  control.write('acTL', 4, 'latin1')
  control.writeUInt32BE(3, 8)
  control.writeUInt32BE(crc32(control.subarray(4, 16)), 16)
  const animated = Buffer.concat([png.subarray(0, 33), control, png.subarray(33)])
  await assert.rejects(reader.normalise(animated, limits), { message: /still image, but has several frames/ })
})

test('a profile or a text that unpacks to much more than the file does not stop the reader', async () => {
  const png = await twoSides(60, 40).png().toBuffer()
  const packed = deflateSync(Buffer.alloc(60_000_000))
  for (const [name, head] of [
    ['iCCP', 'x\0\0'],
    ['zTXt', 'x\0\0'],
  ] as const) {
    const data = Buffer.concat([Buffer.from(name + head, 'latin1'), packed])
    const chunk = Buffer.alloc(8 + data.length)
    chunk.writeUInt32BE(data.length - 4, 0)
    data.copy(chunk, 4)
    chunk.writeUInt32BE(crc32(data), 4 + data.length)
    const bomb = Buffer.concat([png.subarray(0, 33), chunk, png.subarray(33)])
    const before = process.memoryUsage.rss()
    const read = await reader.normalise(bomb, limits).catch((thrown: unknown) => thrown)
    const refused = read instanceof AppError && read.code === 'invalid_upload'
    assert.ok(refused || (read as { width?: number }).width === 60, `${name}: ${read}`)
    assert.ok(process.memoryUsage.rss() - before < 200e6, name)
  }
})

test('more files than may wait are refused until there is room', async () => {
  const png = await twoSides(60, 40).png().toBuffer()
  const own = pictureReader()
  const all = await Promise.allSettled(Array.from({ length: 60 }, () => own.normalise(png, limits)))
  const refused = all.filter((each) => each.status === 'rejected')
  assert.equal(refused.length, 60 - 2 - 32)
  assert.ok(refused.every(({ reason }) => reason.code === 'unavailable'))
  assert.equal((await own.normalise(png, limits)).width, 60)
})

test('many at once are read one after the other', async () => {
  const png = await twoSides(60, 40).png().toBuffer()
  const all = await Promise.allSettled(
    Array.from({ length: 20 }, (_, i) => reader.normalise(i % 3 === 0 ? Buffer.from('x') : png, limits)),
  )
  assert.equal(all.filter(({ status }) => status === 'fulfilled').length, 13)
})

test('mutated files end in a picture or in a refusal, never in anything else', async () => {
  const files = [
    await twoSides(40, 30).png().toBuffer(),
    await twoSides(40, 30).jpeg().toBuffer(),
    await twoSides(40, 30).webp().toBuffer(),
    await twoSides(40, 30).ensureAlpha(0.5).webp({ lossless: true }).toBuffer(),
  ]
  // a generator of its own, so that a failure can be repeated
  let state = 1
  const random = (below: number) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
  let refused = 0
  for (let round = 0; round < 400; round += 1) {
    const file = Buffer.from(files[round % files.length] ?? [])
    for (let i = 0; i <= random(8); i += 1) file[random(Math.min(file.length, 200))] = random(256)
    const cut = random(4) === 0 ? file.subarray(0, random(file.length)) : file
    try {
      const { png, width, height } = await reader.normalise(cut, limits)
      const { pixels } = await reader.fit(png, 16, 16, round % 2 === 0 ? 'picture' : 'mask')
      assert.ok(width * height <= limits.pixels && pixels.length >= 256)
    } catch (thrown) {
      assert.ok(thrown instanceof AppError && thrown.code === 'invalid_upload', `round ${round}: ${thrown}`)
      refused += 1
    }
  }
  assert.ok(refused > 100 && refused < 400, `${refused} were refused`)
})
