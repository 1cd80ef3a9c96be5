import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isBreak, parseAttention } from './attention.ts'

/** Worked out by hand from the rules; test/golden/prompts.test.ts has more, from a second implementation. */
const cases: readonly [prompt: string, stretches: readonly [string, number][]][] = [
  ['normal text', [['normal text', 1]]],
  ['', [['', 1]]],
  [
    'an (important) word',
    [
      ['an ', 1],
      ['important', 1.1],
      [' word', 1],
    ],
  ],
  ['(unbalanced', [['unbalanced', 1.1]]],
  ['[unbalanced', [['unbalanced', 1 / 1.1]]],
  ['never opened)]', [['never opened)]', 1]]],
  ['\\(literal\\]', [['(literal]', 1]]],
  ['one \\\\ and \\no', [['one \\ and no', 1]]],
  ['(unnecessary)(parens)', [['unnecessaryparens', 1.1]]],
  ['((a))', [['a', 1.1 * 1.1]]],
  ['([a])', [['a', (1 / 1.1) * 1.1]]],
  ['(a:1.3)', [['a', 1.3]]],
  ['(a : .5 )', [['a ', 0.5]]],
  ['(a:-2)', [['a', -2]]],
  ['((a:1.3))', [['a', 1.3 * 1.1]]],
  // square brackets take no number
  ['[a:1.3]', [['a:1.3', 1 / 1.1]]],
  ['(at 12:30)', [['at 12', 30]]],
  ['(a:b)', [['a:b', 1.1]]],
  ['(a:1.2.3)', [['a:1.2.3', 1.1]]],
  ['a:1.3)', [['a:1.3)', 1]]],
  [
    'a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).',
    [
      ['a ', 1],
      ['house', 1.5730000000000004],
      [' ', 1.1],
      ['on', 1],
      [' a ', 1.1],
      ['hill', 0.55],
      [', sun, ', 1.1],
      ['sky', 1.4641000000000006],
      ['.', 1.1],
    ],
  ],
  [
    'a (b:1.2) BREAK c',
    [
      ['a ', 1],
      ['b', 1.2],
      ['', 1],
      ['BREAK', -1],
      ['c', 1],
    ],
  ],
  [
    'a BREAK BREAK b',
    [
      ['a', 1],
      ['BREAK', -1],
      ['', 1],
      ['BREAK', -1],
      ['b', 1],
    ],
  ],
  // only as a word of its own
  ['aBREAK break BREAKé', [['aBREAK break BREAKé', 1]]],
]

for (const [prompt, stretches] of cases) {
  test(`weights of ${JSON.stringify(prompt)}`, () => {
    const found = parseAttention(prompt).map(({ text, weight }) => [text, weight])
    assert.deepEqual(found, stretches)
  })
}

test('a BREAK in brackets is a word, as it is in AUTOMATIC1111', () => {
  assert.deepEqual(parseAttention('(a BREAK b)').map(isBreak), [false, false, false])
  assert.deepEqual(parseAttention('a BREAK b').map(isBreak), [false, true, false])
})

test('thousands of brackets are read', () => {
  const [deep] = parseAttention(`${'['.repeat(5000)}a`)
  assert.equal(deep?.text, 'a')
  assert.ok(deep !== undefined && deep.weight >= 0 && deep.weight < 1e-200)
})
