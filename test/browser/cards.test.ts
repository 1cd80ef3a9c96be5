import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Page } from 'playwright-core'
import { AppError } from '../../src/jobs/errors.ts'
import { openPage } from './open-page.ts'

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
  await page.fill('#loras', 'detail')
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
