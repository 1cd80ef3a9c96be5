import { mkdir, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { describeModel } from '../src/diffusion/checkpoint/facts.ts'
import { builtInMatte, openMatte } from '../src/diffusion/matte/matte.ts'
import { finishLimits, finishPresets } from '../src/jobs/finish.ts'
import type { ResolvedRequest } from '../src/jobs/job.ts'
import { type Delivered, deliverDrawn } from './finish/drawn.ts'
import { judgeRenders, readRenders } from './finish/held-out.ts'
import { drawnPrompts } from './finish/prompts.ts'
import { drawnReport, drawnSheet, rendersReport, rendersSheet } from './finish/report.ts'
import { Painters } from './judge/painters.ts'
import { rewriteReport } from './judge/report.ts'

/**
 * The matting network and the finish: errors of the matte on renders that the network has not seen, by material and
 * background, and what the preset for Amazon's main image makes of two hundred requests to packshot-mini, drawn again by `gate`
 * as the product does it. Writes the figures and contact sheets into docs/packshot-matte.md. About ten minutes on two cores.
 *
 *   npm run finish:judge -- --held FOLDER [--matte FILE] [--count 500] [--drawn 200] [--dry]
 *
 * FOLDER has renders with their true alpha: from training/, python -m studio.render --apart --held --seed 820000000
 * --count 500 --out FOLDER. `--dry` prints the report.
 */

const { values } = parseArgs({
  options: {
    held: { type: 'string' },
    matte: { type: 'string', default: builtInMatte },
    count: { type: 'string', default: '500' },
    drawn: { type: 'string', default: '200' },
    out: { type: 'string', default: fileURLToPath(new URL('../docs/packshot-matte', import.meta.url)) },
    dry: { type: 'boolean', default: false },
  },
})
if (values.held === undefined)
  throw new Error('--held FOLDER is missing: the renders that the network has not seen')
const matte = await openMatte(values.matte)
const renders = await judgeRenders(matte, await readRenders(values.held, Number(values.count)))
const report = [rendersReport(renders)]
const sheets: [string, Buffer][] = [['renders.jpg', await rendersSheet(renders)]]

if (Number(values.drawn) > 0) {
  const model = fileURLToPath(new URL('../models/packshot-mini', import.meta.url))
  const { width, height, steps, guidanceScale } = await describeModel(model)
  const { title: _title, source: _source, format, fill = 0, ...preset } = finishPresets.amazon_main!
  const requests = drawnPrompts(Number(values.drawn)).map(
    (prompt, seed): ResolvedRequest => ({
      prompt,
      negative_prompt: '',
      model,
      width,
      height,
      steps,
      guidance_scale: guidanceScale,
      sampler: 'dpmpp_2m',
      schedule: 'karras',
      seed,
      count: 1,
      format,
      quality: 90,
      finish: { ...preset, fill, margin: { top: 0, right: 0, bottom: 0, left: 0 } },
      gate: { tries: finishLimits.maxTries },
    }),
  )
  const painters = new Painters(model)
  const paint = ({ prompt, negative_prompt, guidance_scale }: ResolvedRequest, seed: number) =>
    painters.paint({
      prompt,
      negativePrompt: negative_prompt,
      seed,
      width,
      height,
      steps,
      guidanceScale: guidance_scale,
      sampler: 'dpmpp_2m',
      schedule: 'karras',
    })
  const pictures = await Promise.all(requests.map((request) => paint(request, request.seed)))
  const delivered: Delivered[] = []
  for (const [index, request] of requests.entries()) {
    delivered.push(await deliverDrawn(request, pictures[index]!, (seed) => paint(request, seed), matte))
  }
  await painters.close()
  report.push(drawnReport(delivered))
  sheets.push(['drawn.jpg', await drawnSheet(delivered)])
}
await matte.close()

if (values.dry) console.log(report.join('\n'))
else {
  await mkdir(values.out, { recursive: true })
  for (const [file, bytes] of sheets) await writeFile(`${values.out}/${file}`, bytes)
  await rewriteReport(
    new URL('../docs/packshot-matte.md', import.meta.url),
    report.join('\n'),
    'finish:judge',
  )
}
