import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Page } from 'playwright-core'
import sharp from 'sharp'
import { AppError } from '../../src/jobs/errors.ts'
import { openPage } from './open-page.ts'
import { setText } from './visit.ts'

/** What a card offers when its job is over: more of it, its settings, a way out of a failure, a line that stays. */

const here = openPage()

async function send(page: Page, prompt: string): Promise<void> {
  await page.fill('#prompt', prompt)
  await page.click('.shutter')
  await page.locator('article.is-queued').waitFor()
}

test('"More like this" sends the same request with a new seed at once', async () => {
  for (const javaScriptEnabled of [true, false]) {
    await using visitor = await here.visit({ javaScriptEnabled })
    const { page } = visitor
    await send(page, 'a lemon, on a wooden table')
    const { seed, ...first } = here.studio.newest.request ?? { seed: -1 }
    here.studio.finish()
    const [finished, jobs] = [here.studio.newest.id, here.studio.submitted]
    await page.getByRole('button', { name: 'More like this' }).click()
    await page.locator('article.is-queued').waitFor()
    assert.equal(here.studio.submitted, jobs + 1)
    const { seed: next, ...second } = here.studio.newest.request ?? { seed: -1 }
    assert.deepEqual(second, first)
    assert.notEqual(next, seed)
    assert.notEqual(here.studio.newest.id, finished)
    visitor.assertQuiet()
  }
})

test('a failure is one sentence without paths, and a button that mends it', async () => {
  await using visitor = await here.visit({ reducedMotion: 'no-preference' })
  const { page } = visitor
  const message = '/srv/models/loras/detail.safetensors: lora_te.down.weight is [4, 24]'
  await page.click('.more summary')
  await setText(page, '#loras', 'detail')
  await send(page, 'a mug')
  here.studio.move({ status: 'failed', error: { code: 'model_invalid', message } })
  const failed = page.locator('article.is-failed')
  await failed.getByText('detail cannot be used with packshot-mini').waitFor()
  assert.doesNotMatch((await page.textContent('main')) ?? '', /srv|lora_te/)
  await failed.getByText('For who runs this server').click()
  await failed.getByText(`Job ${here.studio.newest.id}, error model_invalid`).waitFor()
  await failed.getByRole('button', { name: 'Try without detail' }).click()
  await page.locator('article.is-queued').waitFor()
  assert.equal(here.studio.newest.request?.loras, undefined)
  here.studio.move({ status: 'failed', error: { code: 'out_of_memory', message } })
  await page.getByRole('button', { name: 'Try 128 × 128' }).click()
  await page.locator('article.is-queued').waitFor()
  assert.equal(here.studio.newest.request?.width, 128)
  here.studio.move({ status: 'failed', error: { code: 'timeout', message } })
  await page.getByRole('button', { name: 'Try again' }).waitFor()
  visitor.assertQuiet()
})

test('a card says when its pictures go; afterwards a line stays that makes them again', async () => {
  await using visitor = await here.visit()
  const { page } = visitor
  await send(page, 'a lemon')
  here.studio.finish()
  await page
    .locator('.job-expiry')
    .getByText(/Goes in \d+ days/)
    .waitFor()
  const view = here.studio.view.bind(here.studio)
  here.studio.view = () => Promise.reject(new AppError('expired', 'gone'))
  await page.reload()
  await page.locator('.is-gone').getByText('The pictures were deleted on').waitFor()
  here.studio.view = view
  await page.getByRole('link', { name: 'Make it again' }).click()
  assert.equal(await page.inputValue('#prompt'), 'a lemon')
  await page.getByRole('button', { name: 'Remove' }).click()
  await page.getByText('Studio photos, from words').waitFor()
  visitor.assertQuiet()
})

test('a cleared list comes back at a press, and a long one is shown in parts', async () => {
  await using visitor = await here.visit()
  const { page } = visitor
  for (let count = 0; count < 26; count += 1) {
    const form = { prompt: `product ${count}` }
    const headers = { 'sec-fetch-site': 'same-origin' }
    await page.request.post(`${here.url}/jobs`, { form, headers, maxRedirects: 0 })
    here.studio.finish()
  }
  const other = await page.context().newPage()
  await other.goto(here.url)
  await page.reload()
  await page.locator('article.is-succeeded').nth(23).waitFor({ state: 'attached' })
  await page.getByRole('button', { name: 'Older' }).click()
  await page.locator('article.is-succeeded').nth(25).waitFor({ state: 'attached' })
  assert.equal(await page.locator('#older').count(), 0)
  await page.getByRole('button', { name: 'Clear the list' }).click()
  await page.getByText('You cleared the list.').waitFor()
  await other.getByText('You cleared the list.').waitFor()
  await page.getByRole('button', { name: 'Bring the list back' }).press('Enter')
  await page.locator('article.is-succeeded').nth(23).waitFor({ state: 'attached' })
  await other.locator('article.is-succeeded').nth(23).waitFor({ state: 'attached' })
  await send(page, 'a lemon')
  await other.locator('article.is-queued').waitFor({ state: 'attached' })
  visitor.assertQuiet()
})

test('a finished picture is finished again: nothing is drawn, the new one is a job of the list; a refusal stays on the card', async () => {
  for (const javaScriptEnabled of [true, false]) {
    await using visitor = await here.visit({ javaScriptEnabled })
    const { page } = visitor
    await send(page, 'a lemon')
    here.studio.finish()
    const first = here.studio.newest.id
    const done = page.locator('article.is-succeeded')
    await done.getByText('Finish again').click()
    await done.locator('[name="finish_preset"]').selectOption('shop_square')
    await done.locator('[name="background"]').selectOption('transparent')
    await done.getByLabel('Product fills').fill('66')
    await done.getByRole('button', { name: 'Finish it' }).click()
    await page.locator('article.is-queued').waitFor()
    const { request, id } = here.studio.newest
    const { preset, background, fill } = request?.finish ?? {}
    assert.deepEqual([preset, background, fill, request?.format], ['shop_square', 'transparent', 66, 'png'])
    assert.deepEqual([request?.strength, request?.prompt], [0, 'a lemon'])
    assert.ok(here.studio.uploads.has(request?.init_image ?? ''))
    assert.notEqual(id, first)
    here.studio.finish()
    const card = page.locator(`#job-${id}`)
    await card.getByText('Finish again').click()
    // the studio knows no such fill: the form says so only to those without JavaScript
    await card.getByLabel('Product fills').evaluate((field) => field.removeAttribute('min'))
    await card.getByLabel('Product fills').fill('3')
    await card.getByRole('button', { name: 'Finish it' }).click()
    await page.getByText(/finish\.fill must be/).waitFor()
    assert.equal(await card.count(), javaScriptEnabled ? 1 : 0)
    visitor.assertQuiet()
  }
})

test('what begins with a finished picture begins with it as it was drawn', async () => {
  await using visitor = await here.visit()
  const { page } = visitor
  await page.locator('label:has([name="finish_preset"][value="amazon_main"])').click()
  await send(page, 'a lemon')
  here.studio.finish()
  await page.getByRole('button', { name: 'Vary a little' }).click()
  await page.locator('article.is-queued').waitFor()
  const widthOf = async (id = '') => (await sharp(here.studio.uploads.get(id)).metadata()).width
  const { init_image, width, finish } = here.studio.newest.request ?? {}
  assert.deepEqual([await widthOf(init_image), width, finish?.width], [256, 256, 1600])
  here.studio.finish()
  await page.locator(`#job-${here.studio.newest.id}.is-succeeded`).waitFor()
  await page.getByRole('button', { name: 'Use as photo' }).click()
  await page.locator('#init_image:not([value=""])').waitFor({ state: 'attached' })
  assert.equal(await widthOf(await page.inputValue('#init_image')), 256)
  assert.equal(await page.locator('[name="finish_preset"]:checked').getAttribute('value'), 'amazon_main')
  visitor.assertQuiet()
})
