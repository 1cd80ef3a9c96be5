import { availableParallelism, loadavg } from 'node:os'
import sharp from 'sharp'
import type { Picture } from '../../src/diffusion/request.ts'
import { mean } from '../judge/diversity.ts'
import { table } from '../judge/report.ts'
import { sheetOf } from '../judge/sheets.ts'
import type { Delivered } from './drawn.ts'
import type { Judged } from './held-out.ts'

/** Percent of the product's area: more of the background than this is a shadow that was left, or a lost part. */
const visible = 0.5

export function rendersReport(judged: readonly Judged[]): string {
  const row = (name: string, some: readonly Judged[]) => {
    const of = (figure: 'sad' | 'mse' | 'gradient') =>
      mean(some.map(({ errors }) => errors[figure])).toFixed(2)
    const clean = some.filter(({ errors }) => errors.left < visible).length
    const whole = some.filter(({ errors }) => errors.lost < 2).length
    return [
      name,
      String(some.length),
      of('sad'),
      of('mse'),
      of('gradient'),
      percent(clean, some),
      percent(whole, some),
    ]
  }
  const groups = (of: 'background' | 'material' | 'light') =>
    [...Map.groupBy(judged, (each) => each[of])]
      .sort(([, a], [, b]) => b.length - a.length)
      .map(([name, some]) => row(name, some))
  const head = ['', 'pictures', 'SAD', 'MSE', 'gradient', 'nothing left', 'nothing lost']
  return `### Renders that the network has not seen

${table([head, row('all', judged)])}
SAD in thousands of pixels, MSE in thousandths, and the error of the gradient, of alpha in 0..1 at 256 x 256. *Nothing left*: less
than ${visible} % of the product's area was found in the background (shadows, reflections, texture) more than two pixels from the product;
*nothing lost*: less than 2 % of the product is missing; half a pixel all around an apple is nearly that. The matte is measured as the finish uses it, without its crumbs.

By background:

${table([head, ...groups('background')])}
By material:

${table([head, ...groups('material')])}
By light:

${table([head, ...groups('light')])}
![Renders, what was found of them, and the true alpha](packshot-matte/renders.jpg)

From left to right the ten worst by SAD, then ten at equal distances in the order of SAD; from top to bottom the picture, what was found, and the truth.
`
}

export async function rendersSheet(judged: readonly Judged[]): Promise<Buffer> {
  const worst = judged.toSorted((a, b) => b.errors.sad - a.errors.sad)
  const usual = Array.from({ length: 10 }, (_, i) => worst[Math.floor(((i + 0.5) * worst.length) / 10)]!)
  const shown = [worst.slice(0, 10), usual]
  const rows = shown.flatMap((some) => [
    ...some.map(({ picture }) => picture),
    ...some.map(({ found, picture }) => grey(found, picture)),
    ...some.map(({ truth, picture }) => grey(truth, picture)),
  ])
  return sheetOf(rows, 10, 120)
}

/** Percent of the frame that the preset asks for. */
const asked = 87

export function drawnReport(delivered: readonly Delivered[]): string {
  const exact = delivered.filter(({ border }) => border === 1)
  const near = delivered.filter(({ product }) => Math.abs(product - asked) <= 2)
  const whole = delivered.filter(({ measured }) => measured.product > 0 && measured.inside)
  const firstWhole = delivered.filter(
    ({ firstMissed }) => !firstMissed.includes('product') && !firstMissed.includes('inside'),
  )
  const again = delivered.filter(({ measured }) => measured.tries > 1)
  const spread = (of: 'processor' | 'clock') => {
    const sorted = delivered.map((each) => each[of]).sort((a, b) => a - b)
    const [middle = 0, last = 0] = [sorted[sorted.length >> 1], sorted.at(-1)]
    return `${middle.toFixed(2)} s, ${last.toFixed(2)} s`
  }
  const rows = [
    ['', 'measured', 'goal'],
    ['drawn whole at the first try', percent(firstWhole.length, delivered), ''],
    ['delivered whole', percent(whole.length, delivered), ''],
    ['every pixel of the border is exactly 255', percent(exact.length, delivered), '100 %'],
    [
      `the product takes the ${asked} % that were asked, to 2 points`,
      percent(near.length, delivered),
      '95 %',
    ],
    ['from a drawn picture to the file, processor time: in the middle, the longest', spread('processor'), ''],
    [`the same on the clock, ${cores()}`, spread('clock'), 'below 1 s on two idle cores'],
  ]
  return `### Pictures of packshot-mini, finished for Amazon

${table(rows)}
${delivered.length} requests of ten kinds on five backgrounds (\`scripts/finish/prompts.ts\`), seed = number of the request, with the preset \`amazon_main\`
(1600 x 1600, white, JPEG) and \`"gate": {"tries": 4}\`: a picture that misses is drawn again with the next seed, as for every such request.
Border and product are measured from the delivered file; the product is all that is not nearly white (below 246).

${againText(again)}

${leftText(delivered)}

![Pictures as drawn and as delivered](packshot-matte/drawn.jpg)

Every other picture, in pairs: as drawn, and as delivered. Columns are kinds.
`
}

/** The clock is only worth something with what else ran meanwhile. */
function cores(): string {
  return `at a load of ${(loadavg()[0] ?? 0).toFixed(1)} on ${availableParallelism()} cores`
}

/** What was drawn again, and why. */
function againText(again: readonly Delivered[]): string {
  if (again.length === 0) return 'None was drawn again.'
  const lines = again.map(
    ({ prompt, firstMissed, measured: { tries } }) => `${prompt} (${firstMissed.join(', ')}; ${tries} tries)`,
  )
  return `Drawn again, with what the first try missed: ${lines.join('; ')}.`
}

/** What is left of the delivered files: each that is not as it was asked, and those that miss a figure of the product's own. */
function leftText(delivered: readonly Delivered[]): string {
  const named = ({ prompt, seed }: Delivered) => `${prompt}, seed ${seed}`
  const wrong = delivered.filter(({ border, product }) => border < 1 || Math.abs(product - asked) > 2)
  const lines = wrong.map((each) => {
    const { border, product, measured } = each
    const says = (measured.missed ?? []).join(', ') || 'nothing'
    return `- ${named(each)}: ${(100 * border).toFixed(2)} % of the border is white, the product takes ${product.toFixed(1)} %; \`missed\`: ${says}`
  })
  const first =
    wrong.length === 0
      ? 'Of border, size and wholeness nothing is left: all are as they were asked.'
      : `What is left:\n\n${lines.join('\n')}\n`
  const missing = delivered.filter(({ measured: { missed = [] } }) => missed.length > 0)
  if (missing.length === 0) return first
  const each = missing.map((one) => `${named(one)} (${one.measured.missed?.join(', ')})`)
  return `${first} Delivered with a figure that still misses after the last try: ${each.join('; ')}.`
}

export async function drawnSheet(delivered: readonly Delivered[]): Promise<Buffer> {
  const rows = Array.from({ length: Math.ceil(delivered.length / 20) }, (_, row) =>
    delivered.slice(20 * row, 20 * row + 10),
  )
  const tiles = await Promise.all(
    rows
      .flatMap((some) => [...some.map(({ before }) => before), ...some.map(({ after }) => after)])
      .map(small),
  )
  return sheetOf(tiles, 10, 120)
}

/** Small before it waits for the others. */
async function small({ rgb, width, height }: Picture): Promise<Picture> {
  const { data } = await sharp(rgb, { raw: { width, height, channels: 3 } })
    .resize(240, 240, { fit: 'contain', background: '#ffffff' })
    .raw()
    .toBuffer({ resolveWithObject: true })
  return { rgb: data, width: 240, height: 240 }
}

function grey(alpha: Uint8Array, { width, height }: Picture): Picture {
  const rgb = new Uint8Array(3 * width * height)
  for (let i = 0; i < alpha.length; i++) rgb.fill(alpha[i]!, 3 * i, 3 * i + 3)
  return { rgb, width, height }
}

function percent(part: number, { length }: { readonly length: number }): string {
  return length === 0 ? '' : `${((100 * part) / length).toFixed(1)} %`
}
