import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Page } from 'playwright-core'
import { waitFor } from '../kit/waiting.ts'
import { openPage } from './open-page.ts'
import { ballPng } from './png.ts'
import { chosenOf, choose as pick, send, setText } from './visit.ts'

/** A model brings its own settings when it is chosen, and leaves those that the visitor changed. */

const large = {
  name: 'big-sd',
  width: 512,
  height: 512,
  steps: 25,
  guidance_scale: 7.5,
  size_multiple: 8,
  family: 'sd1',
  clip_layers: 12,
  image_to_image: true,
  inpainting: false,
  description: 'A large model.',
  examples: ['a leather bag'],
}
const foreign = {
  ...large,
  name: 'foreign',
  family: 'other',
  size_multiple: 64,
  clip_layers: 1,
  image_to_image: false,
}

const here = openPage((studio) => {
  studio.otherModels = [large, foreign]
})

async function shown(page: Page) {
  const names = ['size', 'steps', 'guidance_scale', 'sampler', 'negative_prompt', 'loras', 'prompt']
  const values = await Promise.all(names.map((name) => page.inputValue(`#${name}`)))
  const count = await chosenOf(page, 'count')
  return Object.fromEntries([...names.map((name, index) => [name, values[index]]), ['count', count]])
}

async function choose(page: Page, name: string): Promise<void> {
  await page.selectOption('#model', name)
  await page.locator(`input[name=shown_model][value="${name}"]`).waitFor({ state: 'attached' })
}

test('the model is the first field, and what was not touched follows it', async () => {
  await using visitor = await here.visit()
  const { page } = visitor
  assert.equal(await page.locator('#request .field').first().locator('select').getAttribute('id'), 'model')
  await page.click('.more summary')
  await page.fill('#prompt', 'a red apple')
  await page.fill('#steps', '33')
  await setText(page, '#loras', 'detail:0.5')
  await page.fill('#negative_prompt', 'blurry')
  await pick(page, 'count', '2')
  await page.locator('.swatch', { hasText: 'Marble' }).click()
  await choose(page, 'big-sd')
  const { size, steps, guidance_scale, loras, negative_prompt, count, prompt } = await shown(page)
  assert.deepEqual(
    { size, steps, guidance_scale, loras, negative_prompt, count, prompt },
    {
      size: '512x512',
      steps: '33',
      guidance_scale: '7.5',
      loras: 'detail:0.5',
      negative_prompt: 'blurry',
      count: '2',
      prompt: 'a red apple',
    },
  )
  assert.equal(await page.locator('.swatch:has(:checked)').textContent(), 'Marble')
  await page.getByRole('link', { name: 'a leather bag' }).waitFor()
  await page.getByText('A large model.').waitFor()
  assert.ok(await page.locator('#steps').isVisible())
  await page.fill('#steps', '25')
  await page.press('#steps', 'Enter')
  await page.locator('article.is-queued').waitFor()
  const { request } = here.studio.newest
  assert.deepEqual(
    [request?.model, request?.width, request?.steps, request?.guidance_scale],
    ['big-sd', 512, 25, 7.5],
  )
  await choose(page, 'packshot-mini')
  assert.equal((await shown(page)).steps, '20')
  visitor.assertQuiet()
})

test('what the chosen model would refuse is left behind', async () => {
  await using visitor = await here.visit()
  const { page } = visitor
  await page.click('.more summary')
  await page.fill('#width', '272')
  await page.fill('#clip_skip', '2')
  await setText(page, '#loras', 'detail:0.5')
  await page.selectOption('#vae', 'sharp-vae')
  await choose(page, 'foreign')
  assert.equal(await page.inputValue('#width'), '')
  assert.equal(await page.inputValue('#clip_skip'), '')
  assert.equal(await page.locator('#loras, #vae, #photo').count(), 0)
  await send(page, 'a red apple')
})

test('a photo and its paint stay when another model is chosen', async () => {
  await using visitor = await here.visit()
  const { page } = visitor
  const buffer = Buffer.from(ballPng(64, 64))
  await page.setInputFiles('#photo-file', { name: 'a.png', mimeType: 'image/png', buffer })
  await waitFor(async () => (await page.inputValue('#init_image')) !== '')
  const photo = await page.inputValue('#init_image')
  await choose(page, 'big-sd')
  assert.equal(await page.inputValue('#init_image'), photo)
  await page.locator('.photo-stage').waitFor()
  visitor.assertQuiet()
})

test('without JavaScript a button brings the settings of the model, and a form sent without it has them too', async () => {
  await using visitor = await here.visit({ javaScriptEnabled: false })
  const { page } = visitor
  await page.fill('#prompt', 'a red apple')
  await page.selectOption('#model', 'big-sd')
  await page.getByRole('button', { name: 'Use this model' }).click()
  assert.equal((await shown(page)).size, '512x512')
  assert.equal(await page.inputValue('#prompt'), 'a red apple')
  await page.selectOption('#model', 'packshot-mini')
  await page.click('.more summary')
  await page.press('#seed', 'Enter')
  await page.waitForURL(/\/jobs\/[\w-]+$/)
  const { request } = here.studio.newest
  assert.deepEqual([request?.model, request?.width, request?.guidance_scale], ['packshot-mini', 256, 5])
})
