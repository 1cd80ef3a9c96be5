import assert from 'node:assert/strict'
import { test } from 'node:test'
import sharp from 'sharp'
import { someRequest } from '../../test/contract/jobs.ts'
import { colourMatte, disc, type Scene, scene } from '../../test/finish/scenes.ts'
import { commentIn } from '../../test/kit/exif.ts'
import { pictureReader } from '../adapters/pictures/picture-reader.ts'
import type { Finish } from '../jobs/finish.ts'
import type { ResolvedRequest } from '../jobs/job.ts'
import { type DeliverParts, deliver } from './deliver.ts'
import type { Look } from './gate.ts'

const finish = (changes: Partial<Finish> = {}): Finish => ({
  background: '#ffffff',
  fill: 85,
  width: 400,
  height: 400,
  margin: { top: 0, right: 0, bottom: 0, left: 0 },
  shadow: 'none',
  ...changes,
})

/** The tries of a picture in their order, by what they show; the last stands for all further ones. */
function parts(scenes: readonly Scene[], more: Partial<DeliverParts> = {}) {
  const drawn: number[] = []
  const looks: Look[] = []
  return {
    drawn,
    looks,
    all: {
      draw: async (seed: number, attempt: number) => {
        drawn.push(seed)
        return (scenes[Math.min(attempt, scenes.length - 1)] as Scene).picture
      },
      enlarge: async (picture: Scene['picture']) => picture,
      matte: colourMatte,
      reader: pictureReader(),
      images: undefined,
      kept: undefined,
      looks,
      parametersOf: (seed: number) => `seed ${seed}`,
      onDrawn: () => {},
      ...more,
    },
  }
}

async function decoded(bytes: Uint8Array) {
  const { data, info } = await sharp(bytes).raw().toBuffer({ resolveWithObject: true })
  const at = (x: number, y: number) => [
    ...data.subarray((y * info.width + x) * info.channels).subarray(0, info.channels),
  ]
  return { data, ...info, at }
}

/** All border pixels, as text of their values. */
function borderOf({ at, width, height }: Awaited<ReturnType<typeof decoded>>): Set<string> {
  const border = new Set<string>()
  for (let x = 0; x < width; x++) for (const y of [0, height - 1]) border.add(at(x, y).join())
  for (let y = 0; y < height; y++) for (const x of [0, width - 1]) border.add(at(x, y).join())
  return border
}

const asked = (changes: Partial<ResolvedRequest>) => someRequest({ seed: 7, count: 2, ...changes })

test('the border has exactly the colour, in each format, and the product fills what was asked', async () => {
  for (const format of ['jpeg', 'png', 'webp'] as const) {
    for (const [background, quality] of [
      ['#ffffff', 90],
      ['#ffffff', 71],
      ['#202428', 90],
    ] as const) {
      // no JPEG holds every colour
      if (format === 'jpeg' && background !== '#ffffff') continue
      const { all } = parts([scene()])
      const request = asked({
        format,
        finish: finish({ background, width: 401, height: 397, fill: 100 }),
        ...(format === 'png' ? {} : { quality }),
      })
      const made = await deliver(request, 0, all)
      const picture = await decoded(made.bytes)
      const rgb = [1, 3, 5].map((from) => Number.parseInt(background.slice(from, from + 2), 16))
      assert.deepEqual([picture.width, picture.height], [401, 397])
      assert.deepEqual(borderOf(picture), new Set([rgb.join()]), `${format} ${background} ${quality}`)
      assert.equal(made.measured?.border_white, 1)
      assert.equal(made.measured?.missed, undefined)
    }
  }
  const { all } = parts([scene()])
  const made = await deliver(asked({ finish: finish() }), 1, all)
  assert.ok(Math.abs((made.measured?.product ?? 0) - 85) < 2, `it fills ${made.measured?.product}`)
  assert.deepEqual([made.seed, made.measured?.tries, made.measured?.inside], [8, 1, true])
  const text = (await sharp(made.bytes).metadata()).comments
  assert.deepEqual(text, [{ keyword: 'parameters', text: 'seed 8' }])
  const original = await decoded(made.original ?? new Uint8Array())
  assert.deepEqual([original.width, original.at(0, 0)], [160, [236, 236, 240]])
})

test('a transparent picture keeps its settings and lets through what is not product', async () => {
  for (const format of ['png', 'webp'] as const) {
    const { all } = parts([scene({ shape: (x, y) => disc(0.3)(x, y) * (1 - disc(0.1)(x, y)) })])
    const request = asked({
      format,
      finish: finish({ background: 'transparent', shadow: 'soft' }),
      ...(format === 'png' ? {} : { quality: 90 }),
    })
    const made = await deliver(request, 0, all)
    const picture = await decoded(made.bytes)
    assert.equal(picture.channels, 4)
    assert.deepEqual(
      [picture.at(0, 0)[3], picture.at(100, 200)[3], picture.at(200, 200)[3]],
      [0, 255, 0],
      'a hole stays',
    )
    const { exif, comments } = await sharp(made.bytes).metadata()
    assert.equal(format === 'png' ? comments?.[0]?.text : commentIn(exif), 'seed 7')
    assert.equal(made.measured?.border_white, undefined)
  }
})

test('an uploaded background is scaled to cover the frame', async () => {
  const background = await sharp({ create: { width: 50, height: 100, channels: 3, background: '#204080' } })
    .png()
    .toBuffer()
  const { all } = parts([scene()], { images: { background } })
  const made = await deliver(asked({ finish: finish({ background: 'an upload', fill: 50 }) }), 0, all)
  const picture = await decoded(made.bytes)
  assert.deepEqual(
    [picture.at(0, 0), picture.at(399, 399)],
    [
      [0x20, 0x40, 0x80],
      [0x20, 0x40, 0x80],
    ],
  )
  assert.ok((picture.at(200, 200)[0] ?? 0) > 120)
})

test('a file is made smaller until it fits, and an impossible size is an error that says so', async () => {
  const noisy = scene({
    shape: (x, y) => (Math.hypot(x, y) < 0.4 && Math.floor(x * 97) % 2 !== Math.floor(y * 89) % 2 ? 1 : 0),
  })
  const of = (max_bytes: number | undefined) => {
    const { all } = parts([noisy])
    const size = finish({ ...(max_bytes === undefined ? {} : { max_bytes }) })
    return deliver(asked({ format: 'jpeg', quality: 95, finish: size }), 0, all)
  }
  const { bytes: free } = await of(undefined)
  const { bytes, measured } = await of(Math.round(free.byteLength * 0.6))
  assert.ok(bytes.byteLength <= free.byteLength * 0.6)
  assert.equal(measured?.border_white, 1)
  await assert.rejects(of(1000), {
    code: 'finish_failed',
    message: /1000 bytes at a quality of 40.*max_bytes/,
  })
})

test('the gate draws again with seeds that no other picture has, and delivers the best try', async () => {
  const cut = scene({ shape: disc(0.3, 0.4) })
  const empty = scene({ shape: () => 0 })
  const good = scene({ shape: disc(0.25) })
  const run = async (scenes: Scene[], tries: number) => {
    const { all, drawn } = parts(scenes)
    const made = await deliver(asked({ gate: { tries }, finish: finish() }), 1, all)
    return [drawn, made.seed, made.measured?.tries, made.measured?.missed ?? []]
  }
  assert.deepEqual(await run([good, cut], 4), [[8], 8, 1, []])
  assert.deepEqual(await run([empty, cut, good], 4), [[8, 10, 12], 12, 3, []])
  const [, seed, tries, missed] = await run([empty, cut, empty], 3)
  assert.deepEqual([seed, tries, missed], [10, 3, ['inside', 'border_white']])

  // without a finish the picture is delivered as drawn, with its figures
  const { all } = parts([cut, good])
  const plain = await deliver(asked({ gate: { tries: 2 } }), 0, all)
  assert.deepEqual([plain.width, plain.original, plain.measured?.inside], [160, undefined, true])

  // the second picture of a job must not be the first again
  const twice = parts([good])
  await deliver(asked({ gate: { tries: 2 } }), 0, twice.all)
  const second = await deliver(asked({ gate: { tries: 2 } }), 1, twice.all)
  assert.deepEqual([second.measured?.like, second.measured?.tries], [0, 2])
})

test('what has no product is delivered as it was drawn, and its figures say so', async () => {
  const { all } = parts([scene({ shape: () => 0 })])
  const made = await deliver(asked({ finish: finish() }), 0, all)
  const { at, width } = await decoded(made.bytes)
  assert.deepEqual([width, at(200, 200)], [400, [236, 236, 240]], 'it is not a white square')
  assert.deepEqual(
    [made.measured?.product, made.measured?.inside, made.measured?.missed],
    [0, false, ['product']],
  )
})

test('an upload is finished without drawing; its own transparency is its matte', async () => {
  const { picture, alpha } = scene({ ground: [190, 40, 30], width: 300 })
  const rgba = new Uint8Array(alpha.length * 4)
  alpha.forEach((share, i) => {
    rgba.set(picture.rgb.subarray(i * 3, i * 3 + 3), i * 4)
    rgba[i * 4 + 3] = share
  })
  const init = await sharp(rgba, { raw: { width: 300, height: 160, channels: 4 } })
    .png()
    .toBuffer()
  const request = asked({ init_image: 'an upload', strength: 0, count: 1, finish: finish() })
  const { all, drawn } = parts([], { images: { init } })
  const made = await deliver(request, 0, all)
  assert.deepEqual(drawn, [])
  assert.deepEqual(made.original, init)
  const { at } = await decoded(made.bytes)
  assert.deepEqual(
    [at(0, 0), at(200, 10)],
    [
      [255, 255, 255],
      [255, 255, 255],
    ],
  )
  assert.ok((at(200, 200)[1] ?? 255) < 60)

  const dot = await sharp({ create: { width: 1, height: 1, channels: 3, background: 'red' } })
    .png()
    .toBuffer()
  const small = parts([], { images: { init: dot } })
  await assert.rejects(deliver(request, 0, small.all), { code: 'finish_failed', message: /1 x 1 pixels/ })
})

test('on its own background the picture is cropped to the shape of the frame', async () => {
  const { all } = parts([scene()])
  const { fill: _fill, ...own } = finish({ background: 'as_made', width: 300, height: 400 })
  const made = await deliver(asked({ finish: own }), 0, all)
  const { at, width, height } = await decoded(made.bytes)
  assert.deepEqual([width, height, at(0, 0)], [300, 400, [236, 236, 240]])
  assert.equal(made.measured?.border_white, undefined)
  const close = parts([scene()])
  const filled = await deliver(asked({ finish: { ...own, fill: 90 } }), 0, close.all)
  assert.ok(Math.abs((filled.measured?.product ?? 0) - 90) < 2)
})
