import assert from 'node:assert/strict'
import { after, beforeEach, test } from 'node:test'
import { buildStudio, Studio } from '../../../test/browser/studio.ts'
import { finishes, scenes } from './backgrounds.ts'
import { fromWords, inWords } from './wording.ts'

let studio = new Studio()
let app = await buildStudio(studio)
beforeEach(async () => {
  await app.close()
  studio = new Studio()
  app = await buildStudio(studio)
})
after(() => app.close())

function post(fields: Record<string, string>, headers: Record<string, string> = {}) {
  return app.inject({
    method: 'POST',
    url: '/jobs',
    headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
    payload: new URLSearchParams(fields).toString(),
  })
}

/** The targets of a page's links. */
function addresses(body: string): string[] {
  return [...body.matchAll(/<a [^>]*href="([^"]*)"/g)].map(([, address = '']) =>
    address.replace(/&#(\d+);/g, (_, code) => String.fromCodePoint(Number(code))),
  )
}

const asDescribed = { background: '', light: '', view: '', many: '' }

/** As packshot-mini names them. */
const controls = {
  light: { Soft: 'soft light', Side: 'hard side light' },
  view: { Front: 'front view' },
  count: { 1: 'one', 2: 'two' },
}

function said(prompt: string, choices: Partial<typeof asDescribed>): string {
  return inWords({ prompt, ...asDescribed, ...choices }, controls)
}

test('what is chosen follows the prompt in words', () => {
  assert.equal(said('a red apple', {}), 'a red apple')
  assert.equal(said('a red apple', { background: 'wood' }), 'a red apple, on a wooden table')
  assert.equal(said('a red apple, \n', { background: 'wood' }), 'a red apple, on a wooden table')
  assert.equal(said('a pear', { background: 'white' }), 'a pear, on a white background, soft light')
  assert.equal(said('a pear', { background: 'pure' }), 'a pear, on a white background, soft light')
  assert.equal(
    said('a pear', { background: 'white', light: 'Side', view: 'Front' }),
    'a pear, front view, hard side light, on a white background',
  )
  assert.equal(said('a pear', { light: 'Moon' }), 'a pear')
})

test('a number takes the place of the article, and the name follows it', () => {
  for (const [prompt, words] of [
    ['a red apple', 'two red apples'],
    ['an avocado on a pink background', 'two avocados on a pink background'],
    ['a bottle of orange juice', 'two bottles of orange juice'],
    ['a cherry, ripe', 'two cherries, ripe'],
    ['a tomato', 'two tomatoes'],
    ['a cereal box', 'two cereal boxes'],
    ['three mugs', 'three mugs'],
    ['mugs', 'two mugs'],
  ])
    assert.equal(said(String(prompt), { many: '2' }), words)
  assert.equal(said('a red apple', { many: '1' }), 'one red apple')
})

test('words are read back into the choices that made them, whatever they are', () => {
  for (const background of ['', ...scenes.map(({ value }) => value)]) {
    for (const light of ['', 'Soft', 'Side']) {
      for (const view of ['', 'Front']) {
        const text = said('a mug, red', { background, light, view })
        const back = fromWords(text, controls)
        assert.equal(inWords(back, controls), text)
        assert.equal(back.background, background, text)
        assert.equal(back.prompt, 'a mug, red', text)
      }
    }
  }
  // a place that was typed without its usual light is not a choice
  assert.equal(fromWords('a mug, on a white background', controls).background, '')
})

test('every background is a labelled radio button, and the one for what is described is chosen', async () => {
  const { body } = await app.inject('/')
  const radios = [...body.matchAll(/<input [^>]*type="radio" name="background" value="(\w*)"( checked)?>/g)]
  assert.deepEqual(
    radios.map(([, value, checked]) => [value, checked !== undefined]),
    [
      ...finishes.map(({ value }) => [value, false]),
      ['', true],
      ...scenes.map(({ value }) => [value, false]),
    ],
  )
  for (const { label } of [...finishes, ...scenes])
    assert.ok(body.includes(`<span class="swatch-name">${label}</span>`))
  const chosen = await app.inject('/?prompt=a&background=marble')
  assert.match(chosen.body, /name="background" value="marble" checked>/)
  assert.doesNotMatch(chosen.body, /name="background" value="" checked>/)
})

test('the job has the whole prompt, and its recipe chooses the background again', async () => {
  assert.equal((await post({ prompt: 'a red apple', background: 'wood' })).statusCode, 303)
  assert.equal(studio.newest.request?.prompt, 'a red apple, on a wooden table')
  studio.finish()
  const { body } = await app.inject(`/jobs/${studio.newest.id}`)
  const recipe = addresses(body).find((address) => address.startsWith('/?prompt=')) ?? ''
  const settings = new URL(recipe, 'http://studio.test').searchParams
  assert.equal(settings.get('prompt'), 'a red apple')
  assert.equal(settings.get('background'), 'wood')
  const form = await app.inject(recipe)
  assert.match(form.body, />\na red apple<\/textarea>/)
  assert.match(form.body, /value="wood" checked>/)
})

test('prompt and background together keep to the limit, and the error counts both', async () => {
  const words = ', on a wooden table'
  assert.equal((await post({ prompt: 'x'.repeat(2000), background: '' })).statusCode, 303)
  assert.equal((await post({ prompt: 'x'.repeat(2000 - words.length), background: 'wood' })).statusCode, 303)
  assert.equal(studio.newest.request?.prompt.length, 2000)
  const refused = await post({ prompt: 'x'.repeat(2001 - words.length), background: 'wood' })
  assert.equal(refused.statusCode, 422)
  assert.match(
    refused.body,
    /id="prompt-error">The description with its background must be text of 1 to 2000 characters, but was .*\(2001 characters\)/,
  )
  assert.match(refused.body, /value="wood" checked>/)
  const alone = await post({ prompt: 'x'.repeat(2001) })
  assert.match(
    alone.body,
    /id="prompt-error">The description must be text of 1 to 2000 characters, but was .*\(2001/,
  )
})

test('a background does not hide that nothing was said', async () => {
  for (const prompt of [
    '',
    ' \r\n\t',
    '\u200b\ufeff\u00a0',
    '\u0007\u001b',
    '<lora:detail:1>',
    ' <lora:detail:1>\u200b ',
  ]) {
    for (const background of ['', 'wood']) {
      const { statusCode, body } = await post({ prompt, background })
      assert.equal(statusCode, 422, JSON.stringify(prompt))
      assert.match(body, /id="prompt-error">Say what should be in the picture, for example: a red apple\./)
    }
  }
  assert.equal(studio.submitted, 0)
})

test('a background that there is not is named', async () => {
  const { statusCode, body } = await post({ prompt: 'a red apple', background: '<moon>' })
  assert.equal(statusCode, 422)
  assert.match(
    body,
    /id="background-error">The background must be empty or one of pure, transparent, .*, but was &#34;&#60;moon&#62;&#34;\./,
  )
  assert.match(body, /value="" checked autofocus>/)
  assert.equal(studio.submitted, 0)
})

test('what a model says of itself is on the page: its examples and its description', async () => {
  assert.match((await app.inject('/')).body, />a pink doughnut<\/a>/)
  studio.about = { description: 'Trained on <fruit>.', examples: ['a <ripe> pear & more'] }
  const { body } = await app.inject('/')
  assert.match(body, /<a class="example" [^>]*>a &#60;ripe&#62; pear &#38; more<\/a>/)
  assert.ok(addresses(body).includes('/?prompt=a+%3Cripe%3E+pear+%26+more'))
  assert.doesNotMatch(body, /pink doughnut/)
  assert.match(
    body,
    /<p class="empty-about" id="wall-about"><b>packshot-mini<\/b> Trained on &#60;fruit&#62;\.<\/p>/,
  )
  const chosen = await app.inject('/?model=packshot-mini')
  assert.ok(addresses(chosen.body).includes('/?prompt=a+%3Cripe%3E+pear+%26+more&model=packshot-mini'))
})

test('a card says what the model does not know, until nothing can come of it', async () => {
  studio.about = { words: new Set(['apple', 'table']), subjects: ['apple', 'pear'] }
  const note = 'packshot-mini finds nothing to draw in these words. It draws: apple, pear.'
  const card = await post({ prompt: 'a dinosaur' }, { 'hx-request': 'true' })
  assert.ok(card.body.includes(`<p>${note}</p>`))
  assert.match(card.body, /data-say="Waiting: 2 jobs before yours: a dinosaur\. packshot-mini finds nothing/)
  studio.finish()
  assert.ok((await app.inject(`/jobs/${studio.newest.id}`)).body.includes(`<p>${note}</p>`))
  studio.move({ status: 'canceled' })
  assert.ok(!(await app.inject(`/jobs/${studio.newest.id}`)).body.includes(note))
  const known = await post({ prompt: 'a dinosaur', background: 'wood' }, { 'hx-request': 'true' })
  assert.doesNotMatch(known.body, /job-notes/)
})
