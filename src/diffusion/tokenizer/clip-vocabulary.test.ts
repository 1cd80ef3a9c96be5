import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { ClipTokenizer } from './clip-tokenizer.ts'
import { type ClipVocabulary, clipVocabulary } from './clip-vocabulary.ts'

let vocabulary: ClipVocabulary
let tokenizer: ClipTokenizer

before(async () => {
  vocabulary = await clipVocabulary()
  tokenizer = await ClipTokenizer.of(vocabulary.ids, vocabulary.merges)
})

test('49 408 tokens: 256 bytes, the same at the end of a word, 48 894 merges, begin and end', () => {
  const { ids, merges } = vocabulary
  const values = Object.values(ids)
  assert.equal(values.length, 49408)
  assert.equal(new Set(values).size, 49408)
  assert.equal(Math.max(...values), 49407)
  assert.equal(merges.length, 48894)
  assert.deepEqual([ids['!'], ids['!</w>'], ids['~</w>'], ids['Ń</w>']], [0, 256, 349, 511])
  // a merge's token follows from its place
  for (const [place, merge] of merges.entries()) assert.equal(ids[merge.replace(' ', '')], 512 + place)
  assert.deepEqual([ids['<|startoftext|>'], ids['<|endoftext|>']], [49406, 49407])
  assert.deepEqual([tokenizer.begin, tokenizer.end, tokenizer.pad], [49406, 49407, 49407])
})

/** By transformers' CLIPTokenizer 5.x with this vocabulary. */
const known: readonly (readonly [string, readonly number[]])[] = [
  ['a photo of a cat', [320, 1125, 539, 320, 2368]],
  [
    'masterpiece, best quality, 1girl, (detailed:1.2)',
    [12066, 267, 949, 3027, 267, 272, 1611, 267, 263, 12609, 281, 272, 269, 273, 264],
  ],
  ["it's 2024! won't you're", [585, 568, 273, 271, 273, 275, 256, 1749, 713, 592, 982]],
  ['naïve café, ÜBER straße', [1097, 35689, 563, 15304, 267, 6522, 1516, 1894, 127, 253, 324]],
  ['猫 and 狗 写真', [163, 234, 360, 537, 163, 233, 501, 44653, 33440, 509]],
  ['🙂🙃 emoji', [32006, 15652, 16327]],
  ['don`t_stop--now...!!', [847, 319, 339, 318, 1691, 2432, 692, 39915]],
  ['', []],
]

for (const [text, ids] of known) {
  test(`tokens of "${text}"`, () => assert.deepEqual(tokenizer.ids(text), ids))
}
