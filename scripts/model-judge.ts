import { mkdir, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { describeModel } from '../src/diffusion/checkpoint/facts.ts'
import type { Picture, PictureRequest } from '../src/diffusion/request.ts'
import { Classifier } from './judge/classifier.ts'
import { diversityOf, mean } from './judge/diversity.ts'
import { Painters } from './judge/painters.ts'
import { type Question, readQuestions } from './judge/questions.ts'
import { reportOf, rewriteReport, type Sheet, sheetsAsMarkdown } from './judge/report.ts'
import { type Answer, percent, shareOf } from './judge/score.ts'
import { gridSteps, gridWeights, sheetPrompts, variedPrompt } from './judge/sheet-prompts.ts'
import { sheetOf } from './judge/sheets.ts'

/**
 * The quality of the built-in model: draws the prompts of `training/judge/prompts.json`, has the judge classify the
 * pictures, and writes the figures and three sheets into docs/packshot-mini.md. About twenty minutes on two cores.
 *
 *   npm run model:judge [-- --model <folder>] [--steps 10,20,30] [--count 1000] [--precision int8] [--shares] [--dry] [--sheets]
 *
 * `--dry` prints the report; `--count` limits the number of prompts; `--sheets` draws the sheets without judging.  `--shares` only
 * prints the shares, and `--precision int8` does no more either: docs/int8.md compares them.
 */

const { values } = parseArgs({
  options: {
    model: { type: 'string', default: fileURLToPath(new URL('../models/packshot-mini', import.meta.url)) },
    steps: { type: 'string', default: '10,20,30' },
    count: { type: 'string', default: '1000' },
    out: { type: 'string', default: fileURLToPath(new URL('../docs/packshot-mini', import.meta.url)) },
    dry: { type: 'boolean', default: false },
    sheets: { type: 'boolean', default: false },
    precision: { type: 'string', default: 'exact' },
    shares: { type: 'boolean', default: false },
  },
})
const count = Number(values.count)
const description = await describeModel(values.model)
const questions = await readQuestions()
const judge = values.sheets ? undefined : await Classifier.open()
const painters = new Painters(values.model)
const began = performance.now()

function ask(prompt: string, seed: number, more: Partial<PictureRequest> = {}): Promise<Picture> {
  const { width, height, steps, guidanceScale } = description
  const defaults = { width, height, steps, guidanceScale, negativePrompt: '' }
  const precision = values.precision === 'int8' ? ('int8' as const) : undefined
  return painters.paint({
    prompt,
    seed,
    sampler: 'dpmpp_2m',
    schedule: 'karras',
    ...defaults,
    ...more,
    precision,
  })
}

async function answers(
  judge: Classifier,
  name: string,
  asked: readonly Question[],
  steps: number,
): Promise<Answer[]> {
  const found = await Promise.all(
    asked.slice(0, count).map(async (question, seed) => {
      const picture = await ask(question.prompt, seed, { steps })
      return { question, seen: await judge.look(picture) }
    }),
  )
  const shares = (['kind', 'colour', 'background'] as const).map(
    (part) => `${part} ${percent(shareOf(found, part))}`,
  )
  const minutes = ((performance.now() - began) / 60_000).toFixed(1)
  console.log(
    `${steps} steps, ${name}: ${shares.join(', ')}, together ${percent(shareOf(found, 'kind', 'colour', 'background'))} (${minutes} min)`,
  )
  return found
}

async function diversity(): Promise<number> {
  const found: number[] = []
  for (const { prompt } of questions.varied) {
    const seeds = Array.from({ length: 16 }, (_, seed) => seed)
    found.push(diversityOf(await Promise.all(seeds.map((seed) => ask(prompt, seed)))))
  }
  return mean(found)
}

async function sheets(): Promise<Sheet[]> {
  await mkdir(values.out, { recursive: true })
  const write = async (
    file: string,
    title: string,
    text: string,
    pictures: Promise<Picture>[],
    columns: number,
    side: number,
  ) => {
    await writeFile(`${values.out}/${file}`, await sheetOf(await Promise.all(pictures), columns, side))
    return { title, text, file: `packshot-mini/${file}` }
  }
  const rows = Array.from({ length: 8 }, (_, row) => sheetPrompts.slice(8 * row, 8 * row + 8))
  return [
    await write(
      'prompts.jpg',
      'Eight by eight prompts',
      `Seeds 0 to 63 in reading order, not hand-picked. By rows:\n\n${rows.map((row) => `1. ${row.join(' · ')}`).join('\n')}`,
      sheetPrompts.map((prompt, seed) => ask(prompt, seed)),
      8,
      160,
    ),
    await write(
      'seeds.jpg',
      'One prompt, sixteen seeds',
      `"${variedPrompt}", seeds 0 to 15.`,
      Array.from({ length: 16 }, (_, seed) => ask(variedPrompt, seed)),
      8,
      160,
    ),
    await write(
      'steps-and-guidance.jpg',
      'One seed, steps and guidance',
      `"${variedPrompt}", seed 7. From top to bottom ${gridSteps.join(', ')} steps; from left to right guidance ${gridWeights.join(', ')}.`,
      gridSteps.flatMap((steps) =>
        gridWeights.map((guidanceScale) => ask(variedPrompt, 7, { steps, guidanceScale })),
      ),
      gridWeights.length,
      160,
    ),
  ]
}

async function judged(judge: Classifier, drawn: readonly Sheet[]): Promise<string> {
  const runs = []
  for (const steps of values.steps.split(',').map(Number)) {
    const known = await answers(judge, 'known combinations', questions.known, steps)
    const heldOut = await answers(judge, 'kept-out combinations', questions.held_out, steps)
    runs.push({ steps, known, heldOut })
  }
  const { diversity: renders, unseen, 'unseen-held': heldOut } = judge.facts.measured
  return reportOf({
    runs,
    diversity: { pictures: await diversity(), renders },
    judge: { unseen, heldOut },
    sheets: drawn,
  })
}

async function report(): Promise<void> {
  const drawn = await sheets()
  const text = judge === undefined ? sheetsAsMarkdown(drawn) : await judged(judge, drawn)
  if (values.dry) console.log(text)
  else await rewriteReport(new URL('../docs/packshot-mini.md', import.meta.url), text)
}

async function shares(judge: Classifier): Promise<void> {
  for (const steps of values.steps.split(',').map(Number)) {
    await answers(judge, `known combinations, ${values.precision}`, questions.known, steps)
    await answers(judge, `kept-out combinations, ${values.precision}`, questions.held_out, steps)
  }
}

if (judge !== undefined && (values.shares || values.precision === 'int8')) await shares(judge)
else await report()
await judge?.close()
await painters.close()
