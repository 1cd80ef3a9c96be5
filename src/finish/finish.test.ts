import assert from 'node:assert/strict'
import { test } from 'node:test'
import { disc, scene } from '../../test/finish/scenes.ts'
import { cleanMatte } from './clean.ts'
import { onBackground, onNothing } from './compose.ts'
import { foreground } from './foreground.ts'
import { borderShare, lookDistance, lookOf, sharpness } from './measure.ts'
import { findProduct, isInside, place, window } from './placement.ts'
import type { Colour, Cut } from './raster.ts'
import { shade } from './shadow.ts'

const margin = { top: 0, right: 0, bottom: 0, left: 0 }
const frame = { width: 400, height: 400, fill: 80, margin, free: 1 }

function cutOf(options: Parameters<typeof scene>[0] = {}): Cut {
  const { picture, alpha } = scene(options)
  return { ...picture, alpha }
}

test('a matte loses its noise and crumbs; holes and several products stay', () => {
  const ring = (x: number, y: number) => disc(0.3)(x, y) * (1 - disc(0.12)(x, y))
  const crumb = (x: number, y: number) => Math.max(ring(x, y), disc(0.03, 0.42, 0.42)(x, y))
  const { alpha, width, height } = cutOf({ shape: crumb })
  const noisy = alpha.map((value) => Math.max(value, 6))
  const clean = cleanMatte(noisy, width, height)
  const at = (x: number, y: number) =>
    clean[Math.round((y + 0.5) * height) * width + Math.round((x + 0.5) * width)]
  assert.deepEqual([at(-0.2, 0), at(0, 0), at(0.42, 0.42), at(-0.49, -0.49)], [255, 0, 0, 0])

  const two = cutOf({ shape: (x, y) => Math.max(disc(0.2, -0.25)(x, y), disc(0.12, 0.3)(x, y)) })
  const found = findProduct(cleanMatte(two.alpha, 160, 160), 160, 160)
  assert.ok(found !== undefined && found.box.width > 130, 'both are in the box')
  const nothing = cleanMatte(new Uint8Array(160 * 160).fill(9), 160, 160)
  assert.equal(findProduct(nothing, 160, 160), undefined)
})

test('edges lose the old background, light on dark too, and the inside stays as it is', () => {
  for (const [ground, product] of [
    [
      [240, 240, 240],
      [60, 20, 20],
    ],
    [
      [10, 12, 16],
      [220, 210, 200],
    ],
    [
      [40, 160, 60],
      [180, 60, 50],
    ],
  ] as const) {
    const cut = cutOf({ ground, product })
    const own = foreground(cut)
    let worst = 0
    for (let i = 0; i < cut.alpha.length; i++) {
      const alpha = cut.alpha[i] as number
      if (alpha < 30 || alpha > 250) continue
      for (let c = 0; c < 3; c++) {
        const value = own[i * 3 + c] as number
        // a product's stripe has 80 to 100 % of its light
        const [low, high] = [(product[c] as number) * 0.8, product[c] as number]
        worst = Math.max(worst, low - value, value - high)
      }
    }
    assert.ok(worst < 25, `an edge is ${worst} off, on ${ground}`)
    const middle = (80 * 160 + 80) * 3
    assert.deepEqual([...own.subarray(middle, middle + 3)], [...cut.rgb.subarray(middle, middle + 3)])
  }
})

test('a product is placed by fill and margins, and at the border that cuts it', () => {
  const find = (shape: (x: number, y: number) => number) => {
    const { alpha } = cutOf({ shape })
    return findProduct(alpha, 160, 160) ?? assert.fail('nothing was found')
  }
  const whole = find(disc(0.3))
  assert.ok(isInside(whole))
  const placed = place(whole, frame)
  assert.ok(Math.abs(whole.box.width * placed.scale - 320) < 0.01)
  assert.deepEqual([placed.left, placed.top], [40, 40])
  const wide = place(whole, { ...frame, width: 800, margin: { ...margin, top: 30 } })
  assert.ok(whole.box.height * wide.scale <= 281, 'margins bound it')
  assert.ok(wide.top >= 120)
  const full = place(whole, { ...frame, fill: 100, free: 8 })
  assert.ok(full.left >= 8 && whole.box.width * full.scale <= 384.01, 'the border stays free')

  const cut = find(disc(0.3, -0.4))
  assert.deepEqual(cut.cut, { top: false, right: false, bottom: false, left: true })
  assert.equal(place(cut, frame).left, 0)
  const below = find(disc(0.3, 0.1, 0.4))
  const atFoot = place(below, frame)
  assert.ok(Math.abs(atFoot.top + below.box.height * atFoot.scale - 400) < 0.01)
  const band = find((_x, y) => (Math.abs(y) < 0.2 ? 1 : 0))
  assert.deepEqual([place(band, frame).left, band.box.width * place(band, frame).scale], [0, 400])
})

test('on its own background a picture is cropped around the product, and never beyond itself', () => {
  const { alpha } = cutOf({ width: 240, shape: disc(0.2, 0.5) })
  const found = findProduct(alpha, 240, 160)
  const picture = { width: 240, height: 160 }
  assert.deepEqual(window(undefined, picture, { width: 100, height: 100, fill: undefined }), {
    left: 40,
    top: 0,
    width: 160,
    height: 160,
  })
  const around = window(found, picture, { width: 100, height: 100, fill: undefined })
  assert.deepEqual(around, { left: 80, top: 0, width: 160, height: 160 })
  const close = window(found, picture, { width: 100, height: 100, fill: 80 })
  assert.ok(close.width < 90 && close.left + close.width <= 240)
})

test('a shadow is where the product stands, ends before the border, and leaves white exactly white', () => {
  const white: Colour = [255, 255, 255]
  // two feet with nothing between them
  const table = (x: number, y: number) =>
    (Math.abs(x) < 0.3 && y > -0.2 && y < -0.1) ||
    (Math.abs(Math.abs(x) - 0.25) < 0.04 && y >= -0.1 && y < 0.2)
      ? 1
      : 0
  const product = cutOf({ shape: table })
  const place = { product, left: 20, top: 20 }
  const size = { width: 200, height: 200 }
  for (const kind of ['contact', 'soft'] as const) {
    const shadow = shade(kind, product.alpha, { left: 20, top: 20, width: 160, height: 160 }, size)
    const { rgb } = onBackground(white, size, { ...place, shade: shadow })
    const at = (x: number, y: number) => rgb[(y * 200 + x) * 3] as number
    const ground = 20 + Math.round((0.2 + 0.5) * 160) + 1
    assert.ok(at(100 - 40, ground) < 235, `${kind}: below a foot it is dark`)
    assert.ok(at(100, ground) > at(100 - 40, ground) + 10, `${kind}: between the feet it is lighter`)
    assert.equal(at(100, 20 + Math.round(0.4 * 160) + 24), 255, `${kind}: under the top nothing floats`)
    assert.equal(borderShare({ rgb, ...size }, white), 1)
  }
})

test('on nothing the product keeps its colours, and a shadow is black that lets through', () => {
  const product = cutOf({ ground: [0, 255, 0] })
  const own = { ...product, rgb: foreground(product) }
  const size = { width: 200, height: 200 }
  const shadow = shade('soft', own.alpha, { left: 20, top: 0, width: 160, height: 160 }, size)
  const { rgba } = onNothing(size, { product: own, left: 20, top: 0, shade: shadow })
  const at = (x: number, y: number) => [...rgba.subarray((y * 200 + x) * 4, (y * 200 + x) * 4 + 4)]
  assert.equal(at(0, 0)[3], 0)
  assert.equal(at(100, 80)[3], 255)
  const [red, green, blue, alpha] = at(100, 134)
  assert.ok((alpha ?? 0) > 5 && (alpha ?? 255) < 200 && red === 0 && green === 0 && blue === 0)
})

test('blur, the border and nearly equal pictures are measured', () => {
  const sharp = cutOf()
  const blurred = { ...sharp, rgb: sharp.rgb.map((_, i) => [190, 40, 30][i % 3] as number) }
  assert.ok(sharpness(sharp) > 100 && sharpness(blurred) < 1)
  // of one brightness: 0.299 * 100 = 0.587 * 50.9
  const isRed = (i: number) => Math.floor(i / 3 / 6) % 2 === 0
  const colours = sharp.rgb.map((_, i) => (isRed(i) ? [180, 49, 80] : [80, 100, 80])[i % 3] as number)
  assert.ok(sharpness({ ...sharp, rgb: colours }) > 100)
  const off = { ...sharp, rgb: new Uint8Array(sharp.rgb.length).fill(255) }
  assert.equal(borderShare(off, [255, 255, 255]), 1)
  off.rgb[0] = 254
  assert.equal(borderShare(off, [255, 255, 255]), (159 * 4 - 1) / (159 * 4))
  const again = scene({ product: [186, 42, 30] })
  const other = scene({ shape: disc(0.18, 0.2, -0.15), product: [30, 60, 190] })
  assert.ok(lookDistance(lookOf(sharp), lookOf(again.picture)) < 3)
  assert.ok(lookDistance(lookOf(sharp), lookOf(other.picture)) >= 3)
})
