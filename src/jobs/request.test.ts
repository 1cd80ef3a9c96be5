import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AppError } from './errors.ts'
import type { ModelInfo } from './ports.ts'
import { defaultLimits, resolveRequest } from './request.ts'

const model: ModelInfo = {
  name: 'mini',
  width: 256,
  height: 192,
  steps: 20,
  guidance_scale: 5,
  size_multiple: 16,
  samplers: ['dpmpp_2m', 'euler'],
  schedules: ['karras', 'normal'],
}

const resolve = (body: unknown) => resolveRequest(body, [model], defaultLimits, 42)

function faultsOf(body: unknown): string[] {
  try {
    resolve(body)
  } catch (error) {
    assert.ok(error instanceof AppError)
    assert.equal(error.code, 'invalid_request')
    assert.equal(error.param, error.faults[0]?.param)
    assert.equal(error.message, error.faults.map((fault) => fault.message).join(' '))
    return error.faults.map((fault) => `${fault.param}: ${fault.message}`)
  }
  return []
}

test('what is not asked for comes from the model', () => {
  assert.deepEqual(resolve({ prompt: 'a red apple' }), {
    prompt: 'a red apple',
    negative_prompt: '',
    width: 256,
    height: 192,
    steps: 20,
    guidance_scale: 5,
    sampler: 'dpmpp_2m',
    schedule: 'karras',
    seed: 42,
    count: 1,
    model: 'mini',
    format: 'png',
  })
})

test('what is asked for is kept, at the limits too', () => {
  for (const asked of [
    { negative_prompt: 'blur', width: 64, height: 1024, steps: 1, guidance_scale: 0, seed: 0, count: 1 },
    { width: 1024, height: 64, steps: 100, guidance_scale: 30, seed: 4294967295, count: 4, format: 'png' },
    { guidance_scale: 0.5, sampler: 'euler', schedule: 'normal', model: 'mini' },
  ]) {
    const resolved: Record<string, unknown> = { ...resolve({ prompt: 'x', ...asked }) }
    for (const [name, value] of Object.entries(asked)) assert.equal(resolved[name], value)
  }
})

test('a random seed is chosen when none is asked for', () => {
  const seeds = Array.from({ length: 8 }, () => resolveRequest({ prompt: 'x' }, [model], defaultLimits).seed)
  assert.ok(new Set(seeds).size > 1)
  assert.ok(seeds.every((seed) => Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32))
})

test('prompts are composed, trimmed and put on one line', () => {
  const { prompt, negative_prompt } = resolve({
    prompt: '  cafe\u0301\r\n\tcup \u2028',
    negative_prompt: '\n',
  })
  assert.deepEqual([prompt, negative_prompt], ['caf\u00e9 cup', ''])
})

const single: [string, object, string][] = [
  [
    'no prompt',
    { prompt: undefined },
    'prompt: prompt is missing: it must be a text of 1 to 2000 characters.',
  ],
  ['empty', { prompt: '' }, 'prompt: prompt must be a text of 1 to 2000 characters, but was empty.'],
  ['blank', { prompt: ' \n ' }, 'prompt: prompt must be a text of 1 to 2000 characters, but was empty.'],
  ['null', { prompt: null }, 'prompt: prompt must be a text of 1 to 2000 characters, but was null.'],
  ['number', { prompt: 5 }, 'prompt: prompt must be a text of 1 to 2000 characters, but was 5.'],
  ['list', { prompt: ['x'] }, 'prompt: prompt must be a text of 1 to 2000 characters, but was a list of 1.'],
  ['object', { prompt: {} }, 'prompt: prompt must be a text of 1 to 2000 characters, but was an object.'],
  [
    'NUL',
    { prompt: 'a\0b' },
    'prompt: prompt must not have control characters, but has U+0000 at character 2.',
  ],
  [
    'ESC',
    { negative_prompt: '\u001b[31m' },
    'negative_prompt: negative_prompt must not have control characters, but has U+001B at character 1.',
  ],
  [
    'half a pair',
    { prompt: 'a\ud800' },
    'prompt: prompt must be valid Unicode, but has half of a surrogate pair.',
  ],
  ['small', { width: 32 }, 'width: width must be a whole number from 64 to 1024, but was 32.'],
  ['large', { height: 2048 }, 'height: height must be a whole number from 64 to 1024, but was 2048.'],
  [
    'multiple',
    { width: 100 },
    'width: width must be a multiple of 16 for the model mini, but was 100; close by: 96 and 112.',
  ],
  [
    'text for a number',
    { width: '256' },
    'width: width must be a whole number from 64 to 1024, but was "256".',
  ],
  ['no steps', { steps: 0 }, 'steps: steps must be a whole number from 1 to 100, but was 0.'],
  ['10 000 steps', { steps: 10_000 }, 'steps: steps must be a whole number from 1 to 100, but was 10000.'],
  ['half a step', { steps: 2.5 }, 'steps: steps must be a whole number from 1 to 100, but was 2.5.'],
  [
    'NaN',
    { guidance_scale: Number.NaN },
    'guidance_scale: guidance_scale must be a number from 0 to 30, but was NaN.',
  ],
  [
    'infinity',
    { guidance_scale: Number.POSITIVE_INFINITY },
    'guidance_scale: guidance_scale must be a number from 0 to 30, but was Infinity.',
  ],
  [
    'negative',
    { guidance_scale: -1 },
    'guidance_scale: guidance_scale must be a number from 0 to 30, but was -1.',
  ],
  ['seed below', { seed: -1 }, 'seed: seed must be a whole number from 0 to 4294967295, but was -1.'],
  [
    'seed above',
    { seed: 2 ** 32 },
    'seed: seed must be a whole number from 0 to 4294967295, but was 4294967296.',
  ],
  ['none', { count: 0 }, 'count: count must be a whole number from 1 to 4, but was 0.'],
  ['five', { count: 5 }, 'count: count must be a whole number from 1 to 4, but was 5.'],
  ['sampler', { sampler: 'ddim' }, 'sampler: sampler must be one of dpmpp_2m, euler, but was "ddim".'],
  ['schedule', { schedule: '' }, 'schedule: schedule must be one of karras, normal, but was empty.'],
  ['model', { model: '../../etc' }, 'model: model must be one of mini, but was "../../etc".'],
  ['model type', { model: 7 }, 'model: model must be a text, but was 7.'],
  ['format', { format: 'jpeg' }, 'format: format must be "png", but was "jpeg".'],
  [
    'misspelt',
    { negativePrompt: '' },
    'negativePrompt: There is no field negativePrompt. Did you mean negative_prompt?',
  ],
  [
    'foreign',
    { webhook: 1 },
    'webhook: There is no field webhook. The fields are prompt, negative_prompt, width, height, steps, guidance_scale, sampler, schedule, seed, count, model, format, priority.',
  ],
]

for (const [name, change, fault] of single) {
  test(`one sentence says what is wrong: ${name}`, () => {
    assert.deepEqual(faultsOf({ prompt: 'an apple', ...change }), [fault])
  })
}

test('long values are shortened, and control characters never echoed', () => {
  const [long] = faultsOf({ prompt: 'x'.repeat(2001) })
  assert.match(long ?? '', /but was "x{60}"\.\.\. \(2001 characters\)\.$/)
  const [hostile] = faultsOf({ prompt: 'x', sampler: '\u001b[2J\n<script>' })
  assert.match(hostile ?? '', /but was "\\u001b\[2J\\n<script>"\.$/)
  assert.equal(faultsOf(JSON.parse(`{"prompt": ${'['.repeat(20_000)}${']'.repeat(20_000)}}`)).length, 1)
})

test('a prompt has a limit in bytes too', () => {
  const limits = { ...defaultLimits, promptBytes: 10 }
  resolveRequest({ prompt: '\u00e9'.repeat(5) }, [model], limits)
  assert.throws(() => resolveRequest({ prompt: '\u00e9'.repeat(6) }, [model], limits), {
    message: 'prompt must have at most 10 bytes in UTF-8, but had 12.',
  })
})

test('every fault is named at once', () => {
  const faults = faultsOf({ prompt: '', steps: 0, width: 100, sampler: 'x', colour: 'red' })
  assert.deepEqual(
    faults.map((fault) => fault.split(':')[0]),
    ['colour', 'prompt', 'steps', 'width', 'sampler'],
  )
})

test('many unknown fields do not make a long answer', () => {
  const body = Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`field ${i}`, 1]))
  assert.equal(faultsOf({ prompt: 'x', ...body }).length, 10)
})

test('a body that is no object is refused', () => {
  for (const body of [undefined, null, 5, 'x', [], true]) {
    assert.match(faultsOf(body)[0] ?? '', /^body: The body must be a JSON object such as /)
  }
})
