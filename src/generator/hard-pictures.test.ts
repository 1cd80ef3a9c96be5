import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import sharp from 'sharp'
import { someRequest } from '../../test/contract/jobs.ts'
import { pictureReader } from '../adapters/pictures/picture-reader.ts'
import { loadConfig } from '../config.ts'
import type { Finish, Measured } from '../jobs/finish.ts'
import { deliver } from './deliver.ts'
import { matteSource } from './matte-source.ts'

/**
 * Pictures that are hard to finish, as strangers send them, with the matting network that is built in: each is delivered
 * as well as it can be, or its figures say what it misses. None becomes a white square in silence.
 */

const matte = matteSource({ ...loadConfig({}), threads: 1 }, Number.POSITIVE_INFINITY)
const side = 256
const finish: Finish = {
  background: '#ffffff',
  fill: 85,
  width: 400,
  height: 400,
  margin: { top: 0, right: 0, bottom: 0, left: 0 },
  shadow: 'none',
}

interface Finished {
  readonly measured: Measured
  /** Whether every pixel is white, or nearly. */
  readonly blank: boolean
  /** The colour at a position, in parts of the side. */
  at(x: number, y: number): readonly number[]
}

/** @param content elements of an SVG, 256 units wide and high */
async function finished(content: string, changes: Partial<Finish> = {}): Promise<Finished> {
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${side}" height="${side}">${content}</svg>`
  const { data: init } = await sharp(Buffer.from(svg))
    .removeAlpha()
    .png()
    .toBuffer({ resolveWithObject: true })
  const request = someRequest({
    init_image: 'an upload',
    strength: 0,
    count: 1,
    finish: { ...finish, ...changes },
  })
  const made = await deliver(request, 0, {
    draw: () => Promise.reject(new Error('nothing is drawn')),
    enlarge: () => Promise.reject(new Error('nothing is enlarged by an upscaler')),
    matte,
    reader: pictureReader(),
    images: { init },
    kept: undefined,
    looks: [],
    parametersOf: () => undefined,
    onDrawn: () => {},
  })
  const { data, info } = await sharp(made.bytes).raw().toBuffer({ resolveWithObject: true })
  assert.deepEqual([info.width, info.height], [400, 400])
  assert.ok(made.measured !== undefined)
  const at = (x: number, y: number) => {
    const from = (Math.floor(y * info.height) * info.width + Math.floor(x * info.width)) * info.channels
    return [...data.subarray(from, from + 3)]
  }
  return { measured: made.measured, blank: data.every((value) => value > 250), at }
}

/** What is true of every one. */
function assertHonest({ measured, blank }: Finished, what: string): void {
  const { product, missed = [] } = measured
  if (blank || product === 0) assert.ok(missed.length > 0, `${what}: ${JSON.stringify(measured)}`)
}

const ground = (colour: string) => `<rect width="256" height="256" fill="${colour}"/>`

suite('hard pictures', () => {
  test('with nothing in them', async () => {
    const fog = `<defs><linearGradient id="g" x2="0" y2="1"><stop stop-color="#fff"/><stop offset="1" stop-color="#b8b8b8"/></linearGradient></defs>`
    const noise = `<filter id="n"><feTurbulence baseFrequency="0.9" numOctaves="2"/><feColorMatrix type="saturate" values="0"/></filter><rect width="256" height="256" filter="url(#n)"/>`
    for (const [what, content] of [
      ['white', ground('#ffffff')],
      ['grey', ground('#ececf0')],
      ['black', ground('#000000')],
      ['a gradient', `${fog}<rect width="256" height="256" fill="url(#g)"/>`],
      ['noise', `${ground('#808080')}${noise}`],
    ] as const) {
      const made = await finished(content)
      assertHonest(made, what)
      if (what !== 'noise') assert.deepEqual([made.measured.product, made.measured.inside], [0, false], what)
      if (what === 'black') assert.deepEqual(made.at(0.5, 0.5), [0, 0, 0], 'it is delivered as it was')
    }
  })

  test('white on white', async () => {
    const shading =
      '<defs><radialGradient id="b" cx="0.4" cy="0.35"><stop stop-color="#fff"/><stop offset="0.7" stop-color="#f1f1ef"/><stop offset="1" stop-color="#cfcfcc"/></radialGradient></defs>'
    const bowl = `${shading}${ground('#fbfbfb')}<ellipse cx="128" cy="196" rx="74" ry="10" fill="#e4e4e4"/><circle cx="128" cy="130" r="70" fill="url(#b)"/>`
    const made = await finished(bowl)
    assertHonest(made, 'a white ball')
    assert.equal(made.measured.border_white, 1)
    for (const grey of ['#fefefe', '#f6f6f6', '#eeeeee', '#e0e0e0']) {
      const flat = await finished(`${ground('#ffffff')}<circle cx="128" cy="128" r="70" fill="${grey}"/>`)
      assertHonest(flat, grey)
    }
  })

  test('glass', async () => {
    for (const [what, colour] of [
      ['on white', '#f4f4f6'],
      ['on wood', '#8a6242'],
      ['on black', '#101012'],
    ] as const) {
      const glass = `${ground(colour)}<path d="M90 50 L98 205 Q128 216 158 205 L166 50" fill="#ffffff" fill-opacity="0.14" stroke="#dfe9ee" stroke-width="3"/><ellipse cx="128" cy="50" rx="38" ry="9" fill="none" stroke="#dfe9ee" stroke-width="3"/><path d="M102 62 L108 190" stroke="#ffffff" stroke-width="5" stroke-opacity="0.8"/>`
      const made = await finished(glass)
      assertHonest(made, `glass ${what}`)
      const cutOut = await finished(glass, { background: 'transparent' })
      assertHonest(cutOut, `glass ${what}, cut out`)
    }
  })

  test('a product that the frame cuts off is said to be, at each side', async () => {
    for (const [cx, cy] of [
      [10, 128],
      [246, 128],
      [128, 10],
      [128, 246],
    ]) {
      const made = await finished(`${ground('#e9e9ec')}<circle cx="${cx}" cy="${cy}" r="80" fill="#b3261e"/>`)
      assertHonest(made, `${cx}, ${cy}`)
      assert.equal(made.measured.inside, false, `${cx}, ${cy}`)
      assert.ok(made.measured.missed?.includes('inside') || made.measured.missed?.includes('product'))
    }
    const whole = await finished(`${ground('#e9e9ec')}<rect width="256" height="256" fill="#b3261e"/>`)
    assertHonest(whole, 'nothing but product')
  })

  test('several products stay together, and each is there', async () => {
    const three = `${ground('#ededf0')}<circle cx="60" cy="150" r="34" fill="#b3261e"/><circle cx="130" cy="150" r="30" fill="#1f7a3a"/><rect x="175" y="110" width="50" height="74" fill="#24408f"/>`
    const made = await finished(three)
    assertHonest(made, 'three')
    const strong = new Set<string>()
    for (let x = 0; x < 1; x += 0.02) {
      for (let y = 0; y < 1; y += 0.05) {
        const [red = 0, green = 0, blue = 0] = made.at(x, y)
        const most = Math.max(red, green, blue)
        if (most - Math.min(red, green, blue) < 50) continue
        strong.add(most === red ? 'red' : most === green ? 'green' : 'blue')
      }
    }
    assert.deepEqual([...strong].sort(), ['blue', 'green', 'red'])
    assert.equal(made.measured.inside, true)
    assert.ok(Math.abs(made.measured.product - 85) < 2, `${made.measured.product} %`)
  })
})
