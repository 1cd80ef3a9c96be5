import assert from 'node:assert/strict'
import { join } from 'node:path'
import { before, test } from 'node:test'
import { paddedIds } from '../../../test/golden/padded-ids.ts'
import { ClipTokenizer } from '../tokenizer/clip-tokenizer.ts'
import { clipVocabulary } from '../tokenizer/clip-vocabulary.ts'
import type { TextualInversion } from './textual-inversion.ts'
import { layOutPrompt, namesIn, type PromptWindows } from './windows.ts'

let tokenizer: ClipTokenizer
before(async () => {
  tokenizer = await ClipTokenizer.load(join(import.meta.dirname, '../../../test/golden/tiny-sd/tokenizer'))
})

/** 'box' is one token of the tiny vocabulary. */
const boxes = (count: number) => Array(count).fill('box').join(' ')

function inversionOf(name: string, count: number): TextualInversion {
  return { name, count, width: 4, vectors: new Float32Array(count * 4) }
}

function named(...inversions: readonly TextualInversion[]): ReadonlyMap<string, TextualInversion> {
  return new Map(inversions.map((inversion) => [inversion.name, inversion]))
}

/** The length of each window's text: the number of ids between begin and end. */
function lengths(windows: PromptWindows): number[] {
  return windows.map(({ ids }) => ids.indexOf(tokenizer.end) - 1)
}

test('a short prompt is what the tokenizer alone makes of it', () => {
  for (const prompt of ['', 'a red apple', 'A RED  apple, "studio"!', boxes(75)]) {
    const windows = layOutPrompt(prompt, tokenizer)
    assert.equal(windows.length, 1)
    assert.deepEqual(windows[0]?.ids, paddedIds(tokenizer, prompt))
    assert.deepEqual(windows[0]?.multipliers, Array(77).fill(1))
  }
})

test('padding is the tokenizer’s own', () => {
  const { begin, end } = tokenizer
  const other = { begin, end, pad: 0, ids: (text: string) => tokenizer.ids(text) }
  const [window] = layOutPrompt('box', other)
  assert.deepEqual(window?.ids.slice(2), [end, ...Array(74).fill(0)])
})

test('the 76th token begins a second window', () => {
  assert.deepEqual(lengths(layOutPrompt(boxes(75), tokenizer)), [75])
  assert.deepEqual(lengths(layOutPrompt(boxes(76), tokenizer)), [75, 1])
  assert.deepEqual(lengths(layOutPrompt(boxes(151), tokenizer)), [75, 75, 1])
})

test('a window breaks behind a comma among its last 20 tokens', () => {
  assert.deepEqual(lengths(layOutPrompt(`${boxes(55)}, ${boxes(20)}`, tokenizer)), [56, 20])
  assert.deepEqual(lengths(layOutPrompt(`${boxes(54)}, ${boxes(21)}`, tokenizer)), [75, 1])
  // a comma that is itself the 76th token moves nothing
  assert.deepEqual(lengths(layOutPrompt(`${boxes(70)}, ${boxes(4)}, box`, tokenizer)), [75, 2])
  // the comma of a window that was broken already is forgotten
  assert.deepEqual(lengths(layOutPrompt(`${boxes(74)}, ${boxes(76)}`, tokenizer)), [75, 75, 1])
})

test('weights move with their tokens', () => {
  const windows = layOutPrompt(`${boxes(70)}, (${boxes(10)}:1.5)`, tokenizer)
  assert.deepEqual(lengths(windows), [71, 10])
  assert.deepEqual(windows[0]?.multipliers, Array(77).fill(1))
  assert.deepEqual(windows[1]?.multipliers, [1, ...Array(10).fill(1.5), ...Array(66).fill(1)])
})

test('BREAK begins a window, and one at the end adds none', () => {
  assert.deepEqual(lengths(layOutPrompt('box box BREAK box', tokenizer)), [2, 1])
  assert.deepEqual(lengths(layOutPrompt('BREAK box', tokenizer)), [0, 1])
  assert.deepEqual(lengths(layOutPrompt('box BREAK', tokenizer)), [1])
})

test('a name in any case gives its place to the vectors, with its weight', () => {
  const [window] = layOutPrompt('box (TinyStyle:1.2), box', tokenizer, named(inversionOf('tinystyle', 3)))
  const [id, comma] = [tokenizer.ids('box')[0], tokenizer.ids(',')[0]]
  assert.deepEqual(window?.ids.slice(0, 8), [tokenizer.begin, id, 0, 0, 0, comma, id, tokenizer.end])
  assert.deepEqual(window?.multipliers.slice(0, 7), [1, 1, 1.2, 1.2, 1.2, 1, 1])
  assert.deepEqual(
    window?.inversions.map(({ offset, inversion }) => [offset, inversion.name]),
    [[2, 'tinystyle']],
  )
})

test('the longest name wins', () => {
  const inversions = named(inversionOf('bad', 2), inversionOf('bad-hands', 3), inversionOf('bad-hands-5', 1))
  const [window] = layOutPrompt('bad, bad-hands-5 bad-hands bad', tokenizer, inversions)
  const names = window?.inversions.map(({ inversion }) => inversion.name)
  assert.deepEqual(names, ['bad', 'bad-hands-5', 'bad-hands', 'bad'])
})

test('the names that a prompt asks for', () => {
  const names = ['bad', 'bad-hands', 'bad-hands-5', 'box']
  const found = (prompt: string) => [...namesIn(prompt, tokenizer, names)]
  assert.deepEqual(found('a (Bad-Hands-5:1.2), BREAK [bad]'), ['bad-hands-5', 'bad'])
  assert.deepEqual(found('badly boxed'), [])
  assert.deepEqual(found(''), [])
})

test('vectors stay together: those that do not fit begin the next window', () => {
  const inversions = named(inversionOf('tinystyle', 8))
  const places = (prompt: string) =>
    layOutPrompt(prompt, tokenizer, inversions).map((window) => window.inversions.map(({ offset }) => offset))
  assert.deepEqual(places(`${boxes(67)} tinystyle`), [[68]])
  assert.deepEqual(places(`${boxes(68)} tinystyle`), [[], [1]])
  // they move with the text behind a comma
  assert.deepEqual(places(`${boxes(60)}, tinystyle ${boxes(20)}`), [[], [1]])
  // but a name that comes too late moves alone: the window before it was not full
  assert.deepEqual(places(`tinystyle, ${boxes(60)}, box tinystyle`), [[1], [1]])
})

test('a whole window of vectors', () => {
  const inversions = named(inversionOf('tinystyle', 75))
  const windows = layOutPrompt('box tinystyle tinystyle box', tokenizer, inversions)
  assert.deepEqual(
    windows.map((window) => window.inversions.length),
    [0, 1, 1, 0],
  )
})

/** Ids and lengths from transformers' CLIPTokenizer and test/golden/prompt_rules.py. */
test('with the vocabulary that Stable Diffusion 1.x has', async () => {
  const { ids, merges } = await clipVocabulary()
  const clip = await ClipTokenizer.of(ids, merges)
  const [first, second, ...none] = layOutPrompt(
    'RAW photo, (subject:1.2) in an (old brick warehouse:1.1), 8k uhd, dslr, soft lighting, high quality, film grain, ' +
      'Fujifilm XT3, masterpiece, best quality, highly detailed, sharp focus, depth of field, natural colours, studio ' +
      'backdrop, product photography, a glass bottle of perfume on a marble table beside a vase of dried flowers, morning ' +
      'light through a window, shallow depth of field, bokeh, 85mm lens',
    clip,
  )
  assert.deepEqual(none, [])
  assert.deepEqual(first?.ids.slice(0, 8), [49406, 6323, 1125, 267, 10300, 530, 550, 896])
  assert.deepEqual(first?.multipliers.slice(3, 9), [1, 1.2, 1, 1, 1.1, 1.1])
  // full: the comma comes too late to move anything
  assert.equal(first?.ids.indexOf(49407), 76)
  const text = [267, 23730, 10350, 539, 1570, 267, 647, 36983, 267, 279, 276, 2848, 8666]
  assert.deepEqual(second?.ids, [49406, ...text, ...Array(63).fill(49407)])

  const [negative] = layOutPrompt(
    'EasyNegative, (worst quality:1.4), lowres',
    clip,
    named(inversionOf('EasyNegative', 8)),
  )
  const vectors = Array(8).fill(0)
  const words = [267, 5719, 3027, 267, 1049, 934]
  assert.deepEqual(negative?.ids.slice(0, 16), [49406, ...vectors, ...words, 49407])
})
