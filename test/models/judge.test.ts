import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import sharp from 'sharp'
import { Classifier, planes } from '../../scripts/judge/classifier.ts'
import { diversityOf } from '../../scripts/judge/diversity.ts'
import { readQuestions } from '../../scripts/judge/questions.ts'
import { type Findings, reportOf, rewriteReport } from '../../scripts/judge/report.ts'
import { type Answer, confusions, shareOf } from '../../scripts/judge/score.ts'
import { sheetOf } from '../../scripts/judge/sheets.ts'
import { openEngine } from '../../src/diffusion/engine.ts'
import { lastFirst, tempFolder } from '../cleanup.ts'
import { engineRequestOf } from '../golden/golden.ts'

const plain = (side: number, ...colour: number[]) => ({
  rgb: Uint8Array.from({ length: side * side * 3 }, (_, i) => colour[i % 3] ?? 0),
  width: side,
  height: side,
})
const answer = (must: object, seen: object): Answer => ({
  question: { prompt: '', must },
  seen: {
    kind: 'apple',
    colour: 'red',
    background: 'white',
    count: 1,
    light: 'soft',
    camera: 'front',
    ...seen,
  },
})

test('a picture is shrunk by means, plane by plane', () => {
  const picture = plain(4, 255, 0, 51)
  picture.rgb[0] = 0
  const small = planes(picture, 2)
  assert.deepEqual(
    [...small].map((value) => Number(value.toFixed(4))),
    [0.75, 1, 1, 1, 0, 0, 0, 0, 0.2, 0.2, 0.2, 0.2],
  )
  assert.throws(() => planes(plain(5, 0, 0, 0), 2), /5x5 cannot be scaled to 2x2/)
})

test('diversity is the mean difference of all pairs', () => {
  assert.equal(diversityOf([plain(64, 9, 9, 9), plain(64, 9, 9, 9)]), 0)
  const three = [plain(128, 0, 0, 0), plain(128, 30, 30, 30), plain(128, 60, 60, 60)]
  assert.ok(Math.abs(diversityOf(three) - 40) < 1e-4)
})

test('only what was asked for counts, and what is mistaken is named', () => {
  const answers = [
    answer({ kind: 'apple', colour: 'red' }, {}),
    answer({ kind: 'apple', colour: 'green' }, { kind: 'tomato' }),
    answer({ kind: 'pear' }, { kind: 'apple' }),
    answer({ kind: 'apple' }, { kind: 'tomato' }),
  ]
  assert.deepEqual(shareOf(answers, 'kind'), { asked: 4, right: 1 })
  assert.deepEqual(shareOf(answers, 'colour'), { asked: 2, right: 1 })
  assert.deepEqual(shareOf(answers, 'kind', 'colour'), { asked: 4, right: 1 })
  assert.deepEqual(confusions(answers, 'kind', 1), ['apple as tomato (2 of 3)'])
})

test('a thousand prompts, of which none is of a combination that was held out, and 200 that are', async () => {
  const { known, held_out: heldOut, varied } = await readQuestions()
  assert.deepEqual([known.length, heldOut.length, varied.length], [1000, 200, 20])
  const combination = ({ must }: (typeof known)[number]) => `${must.kind}|${must.colour}|${must.background}`
  const held = new Set(heldOut.map(combination))
  assert.deepEqual(
    known.map(combination).filter((each) => held.has(each)),
    [],
  )
  assert.ok(new Set(known.map(({ must }) => must.kind)).size >= 40)
})

test('a sheet has its pictures in reading order', async () => {
  const jpeg = await sheetOf([plain(8, 255, 0, 0), plain(8, 0, 255, 0), plain(8, 0, 0, 255)], 2, 16)
  const { data, info } = await sharp(jpeg).raw().toBuffer({ resolveWithObject: true })
  assert.deepEqual([info.width, info.height], [36, 36])
  const at = (x: number, y: number) => [...data.subarray((y * 36 + x) * 3, (y * 36 + x) * 3 + 3)]
  const brightest = (x: number, y: number) => at(x, y).indexOf(Math.max(...at(x, y)))
  assert.deepEqual([brightest(8, 8), brightest(28, 8), brightest(8, 28)], [0, 1, 2])
})

test('the report stands between its marks, and nowhere else', async (t) => {
  const file = join(tempFolder(t), 'model.md')
  const url = pathToFileURL(file)
  const accuracy = { pictures: 10, kind: 0.99, colour: 0.98, background: 1, count: 1, light: 1, camera: 1 }
  const known = [
    answer({ kind: 'apple', colour: 'red', background: 'white' }, {}),
    answer({ kind: 'pear' }, {}),
  ]
  const findings: Findings = {
    runs: [{ steps: 20, known, heldOut: [] }],
    diversity: { pictures: 12, renders: 20 },
    judge: { unseen: accuracy, heldOut: accuracy },
    sheets: [{ title: 'All', file: 'all.jpg', text: 'Everything.' }],
  }
  writeFileSync(file, 'no marks')
  await assert.rejects(rewriteReport(url, reportOf(findings)), /model\.md does not contain the lines/)
  const [begin, end] = ['<!-- written by npm run model:judge, from here -->', '<!-- to here -->']
  writeFileSync(file, `before\n${begin}\nold\n${end}\nafter\n`)
  await rewriteReport(url, reportOf(findings))
  const text = readFileSync(file, 'utf8')
  assert.match(text, /^before\n/)
  assert.match(text, /\nafter\n$/)
  assert.doesNotMatch(text, /old/)
  assert.match(text, /\| kind \| 50\.0 % \| 90 % \| 99\.0 % \|/)
  assert.match(text, /60 % \(goal: 50 %\)/)
  assert.match(text, /pear as apple \(1 of 1\)/)
  assert.match(text, /!\[All\]\(all\.jpg\)\n\nEverything\./)
})

test('the judge knows renders, and finds in pictures of packshot-mini what they were asked to show', async (t) => {
  const judge = await Classifier.open()
  lastFirst(t).after(() => judge.close())
  for (const part of ['kind', 'colour', 'background'] as const)
    assert.ok(judge.facts.measured.unseen[part] >= 0.98, `${part}: ${judge.facts.measured.unseen[part]}`)
  const model = join(import.meta.dirname, '../../models/packshot-mini')
  const engine = await openEngine({ model, provider: 'cpu', threads: 1 })
  lastFirst(t).after(() => engine.close())
  const answers: Answer[] = []
  for (const [seed, question] of (await readQuestions()).known.filter((_, i) => i % 50 === 0).entries()) {
    const asked = { prompt: question.prompt, negative: '', seed, steps: 10, guidance: 3.5 }
    const request = engineRequestOf({ ...asked, width: 256, height: 256, prediction_type: null })
    const picture = await engine.generate(request)
    answers.push({ question, seen: await judge.look(picture) })
  }
  const { asked, right } = shareOf(answers, 'kind', 'colour', 'background')
  const mistaken = confusions(answers, 'kind', 20).join(', ')
  assert.ok(asked === 20 && right >= 16, `${right} of ${asked} pictures are right: ${mistaken}`)
})
