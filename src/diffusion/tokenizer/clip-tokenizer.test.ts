import assert from 'node:assert/strict'
import { cp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { tempFolder } from '../../../test/cleanup.ts'
import { readContent, type Tensor, tensorOf, writeSafetensors } from '../../../test/golden/parity/variants.ts'
import { openModel } from '../checkpoint/model.ts'
import { CheckpointError } from '../errors.ts'
import { ClipTokenizer } from './clip-tokenizer.ts'

const tiny = join(import.meta.dirname, '../../../test/golden/tiny-sd')

async function tokenizerFolder(t: TestContext): Promise<string> {
  const folder = join(tempFolder(t), 'tokenizer')
  await cp(join(tiny, 'tokenizer'), folder, { recursive: true })
  return folder
}

async function edit(path: string, change: (value: Record<string, unknown>) => object): Promise<void> {
  await writeFile(path, JSON.stringify(change(JSON.parse(await readFile(path, 'utf8')))))
}

const places: Record<string, (folder: string) => Promise<void>> = {
  'added_tokens.json': async (folder) => {
    await rm(join(folder, 'tokenizer.json'))
    await writeFile(join(folder, 'added_tokens.json'), '{"<cat-toy>": 800, "<cat-toy>_1": 801, "sks": 802}')
  },
  'tokenizer_config.json': async (folder) => {
    await rm(join(folder, 'tokenizer.json'))
    await edit(join(folder, 'tokenizer_config.json'), (config) => ({
      ...config,
      added_tokens_decoder: {
        '798': { content: '<|startoftext|>', special: true },
        '799': { content: '<|endoftext|>', special: true },
        '800': { content: '<cat-toy>', normalized: true, special: false },
        '801': { content: '<cat-toy>_1', normalized: true, special: false },
        '802': { content: 'sks' },
      },
    }))
  },
  'tokenizer.json': (folder) =>
    edit(join(folder, 'tokenizer.json'), (whole) => ({
      ...whole,
      added_tokens: [
        ...(whole.added_tokens as object[]),
        { id: 800, content: '<cat-toy>', normalized: true, special: false },
        { id: 801, content: '<cat-toy>_1', normalized: true, special: false },
        { id: 802, content: 'sks' },
      ],
    })),
  'both files at once': async (folder) => {
    await places['tokenizer.json']?.(folder)
    await writeFile(join(folder, 'added_tokens.json'), '{"<cat-toy>": 800, "<cat-toy>_1": 801, "sks": 802}')
  },
}
for (const [place, write] of Object.entries(places)) {
  test(`words that a model learned are single tokens, and one of two vectors is both: ${place}`, async (t) => {
    const folder = await tokenizerFolder(t)
    const plain = await ClipTokenizer.load(folder)
    await write(folder)
    const { ids, size } = await ClipTokenizer.load(folder).then((tokenizer) => ({
      ids: (text: string) => tokenizer.ids(text),
      size: tokenizer.size,
    }))
    assert.equal(size, 803)
    assert.deepEqual(ids('a <cat-toy> box'), [...plain.ids('a'), 800, 801, ...plain.ids('box')])
    assert.deepEqual(ids('A <CAT-toy>, sks'), [...plain.ids('a'), 800, 801, ...plain.ids(','), 802])
    assert.deepEqual(ids('<cat-toy> <cat-toy>_1'), [800, 801], 'written out by hand')
    assert.deepEqual(ids('a red box'), plain.ids('a red box'))
  })
}

test('a capital sigma is the same letter at the end of a word as elsewhere', async () => {
  const tokenizer = await ClipTokenizer.load(join(tiny, 'tokenizer'))
  assert.deepEqual(tokenizer.ids('ΟΔΟΣ'), tokenizer.ids('οδοσ'))
  assert.deepEqual(tokenizer.ids('ΣΟΣ. Σ'), tokenizer.ids('σοσ. σ'))
  assert.notDeepEqual(tokenizer.ids('οδος'), tokenizer.ids('οδοσ'))
})

const split = (regex: string) => ({
  type: 'Split',
  pattern: { Regex: regex },
  behavior: 'Removed',
  invert: true,
})
const refusals: Record<string, [(folder: string) => Promise<void>, RegExp]> = {
  'a pattern that would run for hours': [
    (folder) =>
      edit(join(folder, 'tokenizer.json'), (whole) => ({
        ...whole,
        pre_tokenizer: { type: 'Sequence', pretokenizers: [split('([a-z]+)+$'), { type: 'ByteLevel' }] },
      })),
    /only CLIP's are supported/,
  ],
  'a replacement of its own': [
    (folder) =>
      edit(join(folder, 'tokenizer.json'), (whole) => ({
        ...whole,
        normalizer: { type: 'Replace', pattern: { Regex: '(a+)+$' }, content: '' },
      })),
    /only CLIP's are supported/,
  ],
  'no rules': [
    (folder) => edit(join(folder, 'tokenizer.json'), (whole) => ({ ...whole, normalizer: null })),
    /only CLIP's are supported/,
  ],
  'no JSON': [(folder) => writeFile(join(folder, 'tokenizer.json'), '{'), /its tokenizer is damaged/],
  'another kind of vocabulary': [
    (folder) => edit(join(folder, 'tokenizer.json'), (whole) => ({ ...whole, model: { type: 'WordPiece' } })),
    /its tokenizer is damaged/,
  ],
  'a token without a number': [
    (folder) => writeFile(join(folder, 'added_tokens.json'), '{"<x>": "800"}'),
    /its tokenizer is damaged/,
  ],
  'a token with two numbers': [
    async (folder) => {
      await places['tokenizer.json']?.(folder)
      await writeFile(join(folder, 'added_tokens.json'), '{"sks": 801}')
    },
    /gives the token "sks" two ids, 802 and 801/,
  ],
  'a word that stands for more than a window': [
    (folder) => {
      const names = Array.from({ length: 76 }, (_, i) => [i === 0 ? '<x>' : `<x>_${i}`, 800 + i])
      return writeFile(join(folder, 'added_tokens.json'), JSON.stringify(Object.fromEntries(names)))
    },
    /a learned token of more than 75 vectors/,
  ],
  'more than ten megabytes': [
    (folder) => writeFile(join(folder, 'tokenizer.json'), ' '.repeat(10_000_001)),
    /too large/,
  ],
}
for (const [what, [damage, reason]] of Object.entries(refusals)) {
  test(`a tokenizer is data, and refused in words: ${what}`, async (t) => {
    const folder = await tokenizerFolder(t)
    await damage(folder)
    await assert.rejects(ClipTokenizer.load(folder), (error: unknown) => {
      assert.ok(error instanceof CheckpointError, String(error))
      assert.match(error.reason, reason)
      assert.ok(error.message.startsWith(folder))
      return true
    })
  })
}

test('a word that the text encoder has no vector for is found when the model is opened', async (t) => {
  const folder = join(tempFolder(t), 'model')
  await cp(tiny, folder, { recursive: true })
  await places['tokenizer.json']?.(join(folder, 'tokenizer'))
  const model = await openModel(folder)
  await assert.rejects(model.tokenizer(), /its tokenizer has 803 tokens, but its text encoder has 800/)
  const file = join(folder, 'text_encoder/model.safetensors')
  const { tensors, metadata } = await readContent(file)
  const key = 'text_model.embeddings.token_embedding.weight'
  const table = tensors.get(key) as Tensor
  const width = table.shape[1] as number
  tensors.set(key, tensorOf(new Float32Array(803 * width), [803, width], table.dtype))
  writeSafetensors(file, { tensors, metadata })
  assert.equal((await (await openModel(folder)).tokenizer()).size, 803)
})
