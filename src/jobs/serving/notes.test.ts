import assert from 'node:assert/strict'
import { test } from 'node:test'
import { standInModel, standInOffer } from '../../../test/stand-in/engine.ts'
import { defaultLimits } from '../fields.ts'
import type { ModelInfo } from '../offer.ts'
import { resolveRequest } from '../request/resolve.ts'
import type { JobView } from './job-view.ts'
import { notesOn, withNotes } from './notes.ts'

const subjects = ['apple', 'pear', 'orange', 'lemon', 'banana', 'kiwi', 'tomato', 'carrot', 'bread', 'mug']
const words = new Set(['apple', 'pear', 'close-up', "bird's", 'crème', 'яблоко', '2'])

function notes(prompt: string, change: Partial<ModelInfo> = { words, subjects }): string[] {
  const offer = { ...standInOffer, models: [{ ...standInModel, ...change }] }
  return notesOn(resolveRequest({ prompt }, offer, defaultLimits, 1).request, offer)
}

const unknown =
  'stand-in finds nothing to draw in these words. It draws: apple, pear, orange, lemon, banana, kiwi, tomato, carrot and 2 more.'

test('a prompt without a known word has a note that says what the model draws', () => {
  for (const prompt of [
    'a dinosaur on the moon',
    '苹果放在木桌上',
    'تفاحة حمراء',
    '🍎🍏',
    '!!!',
    'ap ple pineapple',
  ]) {
    assert.deepEqual(notes(prompt), [unknown], prompt)
  }
})

test('one known word is enough, however it is written', () => {
  for (const prompt of [
    'a purple Apple dragon',
    'dinosaur,pear.',
    '((APPLE:1.3)), [moon]',
    'dinosaur “apple”',
    'a CLOSE-UP of a unicorn',
    'close-up, unicorn',
    "a bird's house",
    "the apple's moon",
    'cre\u0300me',
    'КРАСНОЕ ЯБЛОКО',
    'apple/moon',
    '2 moons',
  ]) {
    assert.deepEqual(notes(prompt), [], prompt)
  }
})

test('weights and LoRAs are no words', () => {
  assert.deepEqual(notes('<lora:detail:0.5> dinosaur'), [unknown])
  assert.deepEqual(notes('(dinosaur:2), ( moon : 2 )'), [unknown])
})

test('the name of an embedding is known', () => {
  assert.deepEqual(notes('easynegative'), [])
})

test('a model without a list of words knows all of them', () => {
  assert.deepEqual(notes('a dinosaur', {}), [])
  assert.deepEqual(notes('a dinosaur', { subjects }), [])
})

test('without subjects the description is said', () => {
  assert.deepEqual(notes('moon', { words, description: 'Fruit alone.' }), [
    'stand-in finds nothing to draw in these words. Fruit alone.',
  ])
  assert.deepEqual(notes('moon', { words }), ['stand-in finds nothing to draw in these words.'])
  assert.deepEqual(notes('moon', { words, subjects: ['apple', 'pear'] }), [
    'stand-in finds nothing to draw in these words. It draws: apple, pear.',
  ])
})

test('tags that nobody knows are left out, and that is said', () => {
  const said = 'This service does not know <segment:box:0.5>, <wildcard:x>, which is left out of the picture.'
  assert.deepEqual(notes('apple <segment:box:0.5> <wildcard:x> <lora:detail>'), [said])
  assert.deepEqual(notes('moon <apple:1>'), [
    'This service does not know <apple:1>, which is left out of the picture.',
    unknown,
  ])
  assert.deepEqual(notes('apple', {}), [])
})

test('the name of an embedding for another model counts as words, and that is said', () => {
  const embeddings = [
    { name: 'Easy-Negative', family: 'sd1', misfits: new Map([['stand-in', 'is made for another model']]) },
  ]
  const offer = { ...standInOffer, embeddings }
  const said = (prompt: string) => notesOn(resolveRequest({ prompt }, offer, defaultLimits, 1).request, offer)
  assert.deepEqual(said('an apple, (easy-negative:1.2)'), [
    'The embedding Easy-Negative is made for another model; its name counts as words.',
  ])
  assert.deepEqual(said('an easy apple'), [])
})

test('the longest prompt has one note', () => {
  assert.deepEqual(notes('🦕'.repeat(2000)), [unknown])
  assert.deepEqual(notes('dinosaur '.repeat(222)), [unknown])
})

test('a job that asked for int8 and was drawn exactly says so', () => {
  const { request } = resolveRequest({ prompt: 'apple', precision: 'int8' }, standInOffer, defaultLimits, 1)
  const image = { url: '', link: '', width: 8, height: 8, seed: 1, sha256: '', bytes: 1 }
  const view = (images: JobView['images']): JobView => ({
    id: 'x',
    status: 'succeeded',
    request,
    images,
    created_at: '',
    expires_at: '',
    links: { self: '' },
  })
  assert.equal(withNotes(view([image]), standInOffer).notes, undefined)
  assert.match(withNotes(view([{ ...image, precision: 'exact' }]), standInOffer).notes?.join() ?? '', /int8/)
})

test('a job whose request or model is not known has no notes', () => {
  const view: JobView = {
    id: 'x',
    status: 'queued',
    images: [],
    created_at: '',
    expires_at: '',
    links: { self: '' },
  }
  assert.equal(withNotes(view, standInOffer), view)
  const offer = { ...standInOffer, models: [{ ...standInModel, words }] }
  const { request } = resolveRequest({ prompt: 'moon' }, offer, defaultLimits, 1)
  assert.equal(withNotes({ ...view, request }, offer).notes?.length, 1)
  assert.equal(withNotes({ ...view, request: { ...request, model: 'gone' } }, offer).notes, undefined)
})
