import { writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { describeModel } from '../src/diffusion/checkpoint/facts.ts'
import type { Picture, PictureRequest } from '../src/diffusion/request.ts'
import { Painters } from './judge/painters.ts'
import { readQuestions } from './judge/questions.ts'
import { sheetOf } from './judge/sheets.ts'

/**
 * How far pictures in eight bits are from the exact ones: draws prompts of the judge both ways, prints PSNR and SSIM, and
 * writes a sheet of pairs, exact above int8.
 *
 *   node scripts/int8-compare.ts [--model <folder>] [--count 100] [--steps 20] [--sheet docs/int8/pairs.jpg]
 */

const { values } = parseArgs({
  options: {
    model: { type: 'string', default: fileURLToPath(new URL('../models/packshot-mini', import.meta.url)) },
    count: { type: 'string', default: '100' },
    steps: { type: 'string', default: '20' },
    sheet: { type: 'string', default: fileURLToPath(new URL('../docs/int8/pairs.jpg', import.meta.url)) },
  },
})
const columns = 8
const { width, height, guidanceScale } = await describeModel(values.model)
const { known, held_out } = await readQuestions()
// both kinds by turns
const prompts = known
  .flatMap((question, i) => [question, held_out[i] ?? question])
  .slice(0, Number(values.count))
const painters = new Painters(values.model)
const draw = (prompt: string, seed: number, precision: PictureRequest['precision']) =>
  painters.paint({
    prompt,
    seed,
    width,
    height,
    guidanceScale,
    steps: Number(values.steps),
    negativePrompt: '',
    sampler: 'dpmpp_2m',
    schedule: 'karras',
    precision,
  })
const pairs = await Promise.all(
  prompts.map(async ({ prompt }, seed): Promise<[Picture, Picture]> => {
    return [await draw(prompt, seed, undefined), await draw(prompt, seed, 'int8')]
  }),
)
await painters.close()
const told = (name: string, figures: number[], digits: number) => {
  const sorted = figures.toSorted((a, b) => a - b)
  const [least, tenth, middle] = [0, 0.1, 0.5].map((share) => sorted[Math.floor(share * sorted.length)]!)
  const shown = [middle, tenth, least].map((figure) => figure!.toFixed(digits)).join(' | ')
  console.log(`| ${name} | ${shown} |`)
}
console.log(`| ${pairs.length} prompts, ${values.steps} steps | median | 10th percentile | least |`)
told(
  'PSNR in dB',
  pairs.map(([exact, eight]) => psnr(exact, eight)),
  1,
)
told(
  'SSIM',
  pairs.map(([exact, eight]) => ssim(exact, eight)),
  4,
)
const shown = Array.from({ length: pairs.length / columns }, (_, row) =>
  pairs.slice(row * columns, (row + 1) * columns),
).slice(0, 3)
const rows = shown.flatMap((row) => [row.map(([exact]) => exact), row.map(([, eight]) => eight)])
await writeFile(values.sheet, await sheetOf(rows.flat(), columns, 160))

function psnr({ rgb }: Picture, other: Picture): number {
  const squares = rgb.reduce((sum, value, i) => sum + (value - other.rgb[i]!) ** 2, 0)
  return 10 * Math.log10((255 ** 2 * rgb.length) / squares)
}

/** The mean over windows of 8 x 8 of the lightness, every 4 pixels (https://doi.org/10.1109/TIP.2003.819861). */
function ssim(one: Picture, other: Picture): number {
  const [a, b] = [lightness(one), lightness(other)]
  const [side, step, c1, c2] = [8, 4, (0.01 * 255) ** 2, (0.03 * 255) ** 2]
  let total = 0
  let windows = 0
  for (let top = 0; top + side <= one.height; top += step) {
    for (let left = 0; left + side <= one.width; left += step) {
      let [sa, sb, saa, sbb, sab] = [0, 0, 0, 0, 0]
      for (let i = 0; i < side * side; i++) {
        const at = (top + Math.floor(i / side)) * one.width + left + (i % side)
        const [x, y] = [a[at]!, b[at]!]
        sa += x
        sb += y
        saa += x * x
        sbb += y * y
        sab += x * y
      }
      const n = side * side
      const [ma, mb] = [sa / n, sb / n]
      const [va, vb, vab] = [saa / n - ma * ma, sbb / n - mb * mb, sab / n - ma * mb]
      total += ((2 * ma * mb + c1) * (2 * vab + c2)) / ((ma * ma + mb * mb + c1) * (va + vb + c2))
      windows++
    }
  }
  return total / windows
}

function lightness({ rgb, width, height }: Picture): Float64Array {
  return Float64Array.from({ length: width * height }, (_, i) => {
    return 0.299 * rgb[3 * i]! + 0.587 * rgb[3 * i + 1]! + 0.114 * rgb[3 * i + 2]!
  })
}
