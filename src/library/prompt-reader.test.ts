import assert from 'node:assert/strict'
import { test } from 'node:test'
import { promptReader } from './prompt-reader.ts'

const exactFrom = 17
const embeddings = [{ name: 'Many-Hands', vectors: 75 }]
const reader = promptReader(() => embeddings)
const windows = async (prompt: string) => (await reader.read(prompt, { exactFrom })).windows
const weight = async (prompt: string) => (await reader.read(prompt, { exactFrom })).weight

test('an ordinary prompt of the maximum length fits, and a short one is one window', async () => {
  const sentence =
    'a studio photo of a red apple beside a green bottle on white marble, soft light, sharp focus. '
  const found = await windows(sentence.repeat(22).slice(0, 2000))
  assert.ok(found > 4 && found < 9, `${found} windows`)
  assert.equal(await windows('a red apple'), 1)
  assert.equal(await windows(''), 1)
})

test('what makes many windows of few characters is counted', async () => {
  assert.equal(await windows('BREAK '.repeat(333)), 333)
  assert.equal(await windows('a BREAK b BREAK c'), 3)
  assert.equal(await windows('(a:1.1) BREAK\nBREAK x'.repeat(20)), 41)
  assert.ok((await windows('漢'.repeat(2000))) > 16, 'each character has several tokens')
  assert.ok((await windows(`${'x '.repeat(56)}, `.repeat(17))) >= 17, 'words that move with a comma')
  assert.equal(await windows('many-hands '.repeat(30)), 30, 'vectors of embeddings')
})

test('weights are those that brackets multiply to', async () => {
  assert.equal(await weight('a red apple'), 1)
  assert.equal(await weight('a (red:1.5) apple, [dark], ((bright:2):-3)'), 6)
  assert.equal(await weight(`(apple:1${'0'.repeat(40)})`), 1e40)
  assert.ok((await weight(`${'('.repeat(60)}apple`)) > 100)
  assert.equal(await weight(String.raw`\(apple:1000\)`), 1, 'escaped brackets are text')
  for (const prompt of [`(a:1${'0'.repeat(400)})`, `((a:1${'0'.repeat(400)}):0)`]) {
    assert.ok(!Number.isFinite(await weight(prompt)), prompt.slice(0, 10))
  }
})
