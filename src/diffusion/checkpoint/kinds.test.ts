import assert from 'node:assert/strict'
import { test } from 'node:test'
import { families, familyAt, familyOfWidth } from './families.ts'
import { kindNames, kinds, refusal } from './kinds.ts'

test('each kind has a folder of its own', () => {
  const folders = kindNames.map((kind) => kinds[kind].folder)
  assert.equal(new Set(folders).size, kindNames.length)
})

test('a file of a family that can be used is refused only where it does not belong, with its place', () => {
  for (const kind of kindNames) {
    const found = { kind, family: kinds[kind].families[0], description: 'x' } as const
    assert.equal(refusal(kind, found), undefined)
    for (const wanted of kindNames.filter((each) => each !== kind)) {
      const place = kinds[kind].folder || 'the models folder itself'
      const sentence = `this is x, not ${kinds[wanted].noun}; put it in ${place}`
      assert.ok(refusal(wanted, found)?.startsWith(sentence), sentence)
    }
  }
})

test('what cannot be used is refused wherever it is', () => {
  const sentence = 'this is x, which cannot be used; only Stable Diffusion 1.x is supported'
  for (const wanted of kindNames) {
    assert.equal(refusal(wanted, { kind: 'other', family: 'sd1', description: 'x' }), sentence)
    assert.equal(refusal(wanted, { kind: wanted, family: 'sdxl', description: 'x' }), sentence)
  }
})

test('a family is known by the width of its text states, a small model by none', () => {
  assert.equal(familyAt(768), 'sd1')
  assert.equal(familyAt(families.sd2.textWidth), 'sd2')
  assert.equal(familyAt(32), undefined)
  assert.equal(familyAt(undefined), undefined)
  assert.deepEqual([32, 1280, 2048, 4096, undefined].map(familyOfWidth), [
    'sd1',
    'sdxl-refiner',
    'sdxl',
    'unknown',
    'unknown',
  ])
})
