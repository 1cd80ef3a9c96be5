import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openPage } from './open-page.ts'
import { overflows } from './visit.ts'

const here = openPage()

const noScript = { javaScriptEnabled: false }

test('without JavaScript a form is posted, and its page asks again until the picture is there', async () => {
  await using visitor = await here.visit(noScript)
  const { page } = visitor
  await page.fill('#prompt', 'a red apple')
  await page.click('.shutter')
  await page.waitForURL(/\/jobs\/[\w-]+$/)
  await page.getByText('Waiting: 2 jobs before yours').waitFor()
  here.studio.move({ status: 'running', progress: { step: 8, steps: 20 } })
  await page.getByText('Step 8 of 20').waitFor()
  here.studio.finish()
  await page.locator('article img').waitFor()
  assert.equal(await page.locator('meta[http-equiv]').count(), 0)
  assert.equal(await overflows(page), false)

  await page.getByText('All settings').click()
  await page.locator('.seed-link').click()
  assert.equal(await page.inputValue('#prompt'), 'a red apple')
  assert.equal(await page.inputValue('#seed'), '7')
  visitor.assertQuiet()
})

test('without JavaScript a fault stands beside its field and the text stays', async () => {
  await using visitor = await here.visit(noScript)
  const { page } = visitor
  await page.click('.more summary')
  await page.fill('#negative_prompt', 'blurry')
  await page.click('.shutter')
  await page.locator('#prompt-error').waitFor()
  assert.equal(await page.inputValue('#negative_prompt'), 'blurry')
  assert.equal(here.studio.submitted, 0)
})

test('without JavaScript a job is canceled', async () => {
  here.studio.pollAfterMs = 600_000
  await using visitor = await here.visit(noScript)
  const { page } = visitor
  await page.fill('#prompt', 'a red apple')
  await page.click('.shutter')
  await page.getByRole('button', { name: 'Cancel' }).click()
  await page.getByText('Canceled. No picture was taken.').waitFor()
})

test('without JavaScript an example is a link', async () => {
  await using visitor = await here.visit(noScript)
  const { page } = visitor
  await page.getByRole('link', { name: 'a red apple' }).click()
  await page.waitForURL(/prompt=a\+red\+apple/)
  assert.equal(await page.inputValue('#prompt'), 'a red apple')
})
