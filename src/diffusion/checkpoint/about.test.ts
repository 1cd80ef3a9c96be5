import assert from 'node:assert/strict'
import { cp, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { tempFolder } from '../../../test/cleanup.ts'
import { writeVariant } from '../../../test/golden/parity/variants.ts'
import { defaultLimits } from '../../jobs/fields.ts'
import { ConfigFile } from '../config-file.ts'
import { readAbout } from './about.ts'
import { defaultsWithin, describeModel } from './facts.ts'

const tiny = join(import.meta.dirname, '../../../test/golden/tiny-sd')

const about = {
  description: 'Trained on fruit.',
  examples: ['a red apple', 'a “ripe” pear, 苹果'],
  words: ['apple', 'close-up', '3/4', 'crème'],
  subjects: ['apple', 'Bosc pear'],
}

test('what a model says of itself is read from its folder, and from beside a single file', async (t) => {
  const folder = tempFolder(t)
  await cp(tiny, join(folder, 'mine'), { recursive: true })
  await writeFile(join(folder, 'mine/packshot.json'), JSON.stringify({ ...about, steps: 9 }))
  const described = await describeModel(join(folder, 'mine'))
  assert.deepEqual([described.about, described.steps], [about, 9])
  const file = await writeVariant(folder, 'fp16')
  assert.deepEqual((await describeModel(file)).about, {})
  await writeFile(file.replace(/safetensors$/, 'json'), JSON.stringify({ subjects: ['apple'] }))
  assert.deepEqual((await describeModel(file)).about, { subjects: ['apple'] })
})

const read = (fields: object) => readAbout(ConfigFile.parse('x/packshot.json', JSON.stringify(fields)))

test('the defaults of a model are what a request may ask for, which no worker would refuse', async (t) => {
  const { maxGuidanceScale, maxSize, maxSteps, minSize } = defaultLimits
  const { guidanceScale, side, steps } = defaultsWithin
  assert.deepEqual([side.least, side.most, steps.most], [minSize, maxSize, maxSteps])
  assert.deepEqual([guidanceScale.least, guidanceScale.most], [0, maxGuidanceScale])
  const folder = join(tempFolder(t), 'mine')
  await cp(tiny, folder, { recursive: true })
  const says = (fields: object) => writeFile(join(folder, 'packshot.json'), JSON.stringify(fields))
  await says({ width: 1024, height: 64, steps: 100, guidance_scale: 30 })
  const { width, height } = await describeModel(folder)
  assert.deepEqual([width, height], [1024, 64])
  for (const [field, value, must] of [
    ['steps', 101, 'a whole number from 1 to 100'],
    ['steps', 0, 'a whole number from 1 to 100'],
    ['guidance_scale', 30.5, 'a number from 0 to 30'],
    ['guidance_scale', -1, 'a number from 0 to 30'],
    ['width', 1032, 'a multiple of 8 from 64 to 1024'],
    ['height', 100, 'a multiple of 8 from 64 to 1024'],
    ['height', 56, 'a multiple of 8 from 64 to 1024'],
  ] as const) {
    await says({ [field]: value })
    const sentence = `"${field}" is ${value}; it must be ${must}`
    await assert.rejects(describeModel(folder), ({ message }: Error) => message.endsWith(sentence), sentence)
  }
})

test('a field that is absent or null says nothing', () => {
  assert.deepEqual(read({}), {})
  assert.deepEqual(read({ description: null, words: null }), {})
})

test('the limits can be reached', () => {
  const most = {
    description: '🍎'.repeat(500),
    examples: Array.from({ length: 12 }, () => 'x'.repeat(200)),
    words: Array.from({ length: 2000 }, (_, i) => `word${i}`),
    subjects: Array.from({ length: 200 }, (_, i) => `thing ${i}`),
  }
  assert.deepEqual(read(most), most)
})

const faults: [string, object, string][] = [
  [
    'no text',
    { description: 5 },
    '"description" is 5; it must be one line of text, 1 to 500 characters long',
  ],
  [
    'a blank text',
    { description: ' ' },
    '"description" is " " (1 characters); it must be one line of text, 1 to 500 characters long',
  ],
  [
    'a long text',
    { description: 'x'.repeat(501) },
    `"description" is "${'x'.repeat(79)}... (501 characters); it must be one line of text, 1 to 500 characters long`,
  ],
  [
    'a line break',
    { subjects: ['a', 'b\n'] },
    '"subjects"[1] is "b\\n" (2 characters); it must be one line of text, 1 to 100 characters long',
  ],
  [
    'no list',
    { examples: 'a red apple' },
    '"examples" is "a red apple"; it must be a list of 1 to 12 strings',
  ],
  ['an empty list', { examples: [] }, '"examples" has 0 entries; it must be a list of 1 to 12 strings'],
  [
    'a long list',
    { examples: Array(13).fill('x') },
    '"examples" has 13 entries; it must be a list of 1 to 12 strings',
  ],
  [
    'a long list of words',
    { words: Array(2001).fill('x') },
    '"words" has 2001 entries; it must be a list of 1 to 2000 strings',
  ],
  [
    'an upper-case word',
    { words: ['apple', 'Pear'] },
    '"words"[1] is "Pear" (4 characters); it must be one lowercase word, 1 to 50 characters long',
  ],
  [
    'two words',
    { words: ['wine bottle'] },
    '"words"[0] is "wine bottle" (11 characters); it must be one lowercase word, 1 to 50 characters long',
  ],
  [
    'half a character',
    { examples: ['\ud800'] },
    '"examples"[0] is "\\ud800" (1 characters); it must be one line of text, 1 to 200 characters long',
  ],
]
for (const [name, fields, message] of faults) {
  test(`refuses ${name}, naming file and field`, () => {
    assert.throws(() => read(fields), { name: 'CheckpointError', message: `x/packshot.json: ${message}` })
  })
}

test('describing a model refuses them too', async (t) => {
  const folder = join(tempFolder(t), 'mine')
  await cp(tiny, folder, { recursive: true })
  await writeFile(join(folder, 'packshot.json'), '{"subjects": "apple"}')
  await assert.rejects(describeModel(folder), { name: 'CheckpointError', message: /"subjects" is "apple"/ })
})
