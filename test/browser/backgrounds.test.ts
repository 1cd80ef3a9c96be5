import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Page } from 'playwright-core'
import { openPage } from './open-page.ts'
import { overflows, tabTo } from './visit.ts'

/** The choice of a background, the examples of a model and what it does not know, as a visitor meets them. */

const here = openPage((studio) => {
  studio.about = {
    examples: Array.from(
      { length: 12 },
      (_, i) => `${i} red apples in a row on a wooden table, hard side light`,
    ),
    subjects: ['apple', 'pear'],
    words: new Set(['apple', 'apples']),
  }
})

const phone = { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true }
const chosen = (page: Page) => page.locator('.swatch:has(:checked)').textContent()

test('a background is chosen with the keyboard, said to a screen reader, and brought back by a recipe', async () => {
  await using visitor = await here.visit()
  const { page } = visitor
  await tabTo(page, '[name=background][value=""]')
  for (let presses = 0; presses < 3; presses += 1) await page.keyboard.press('ArrowRight')
  const wood = page.getByRole('group', { name: 'Background' }).getByRole('radio', { name: 'Wood' })
  assert.ok(await wood.isChecked())
  await page.fill('#prompt', 'a red apple')
  await page.keyboard.press('Enter')
  await page.locator('article.is-queued').waitFor()
  assert.equal(here.studio.newest.request?.prompt, 'a red apple, on a wooden table')
  assert.equal(await chosen(page), 'Wood')
  assert.equal(await page.locator('.job-notes').count(), 0)

  here.studio.finish()
  await page.getByRole('link', { name: 'Copy settings' }).click()
  assert.equal(await page.inputValue('#prompt'), 'a red apple')
  assert.equal(await chosen(page), 'Wood')
  assert.equal(await page.locator('#seed').isVisible(), false)
  visitor.assertQuiet()
})

test('a fault keeps the background that was chosen', async () => {
  await using visitor = await here.visit()
  const { page } = visitor
  await page.locator('.swatch', { hasText: 'Marble' }).click()
  await page.click('.shutter')
  await page.locator('#prompt-error').getByText('Say what should be in the picture').waitFor()
  assert.equal(await chosen(page), 'Marble')
  assert.equal(here.studio.submitted, 0)
})

test('without JavaScript a background is chosen and a note is shown', async () => {
  await using visitor = await here.visit({ javaScriptEnabled: false })
  const { page } = visitor
  await page.locator('.swatch', { hasText: 'Dark' }).click()
  await page.fill('#prompt', 'a dinosaur')
  await page.click('.shutter')
  await page.waitForURL(/\/jobs\/[\w-]+$/)
  assert.equal(here.studio.newest.request?.prompt, 'a dinosaur, on a dark background, dramatic lighting')
  await page.getByText('packshot-mini finds nothing to draw in these words. It draws: apple, pear.').waitFor()
})

test('on a phone backgrounds and examples have room for a thumb, and nothing is wider than the screen', async () => {
  await using visitor = await here.visit(phone)
  const { page } = visitor
  for (const control of await page.locator('.swatch, .example').all()) {
    const { width = 0, height = 0 } = (await control.boundingBox()) ?? {}
    assert.ok(width >= 44 && height >= 44, `${await control.textContent()} is ${width} x ${height}`)
  }
  assert.equal(await overflows(page), false)
  await page.getByRole('link', { name: '11 red apples' }).tap()
  assert.match(await page.inputValue('#prompt'), /^11 red apples/)
  assert.equal(await overflows(page), false)
})

test('the button that sends is in sight from the start, and covers no field that has the focus', async () => {
  for (const options of [{}, phone]) {
    await using visitor = await here.visit(options)
    const { page } = visitor
    const bottom = async (selector: string) => {
      const { y = 0, height = 0 } = (await page.locator(selector).boundingBox()) ?? {}
      return y + height
    }
    assert.ok((await bottom('.shutter')) <= (page.viewportSize()?.height ?? 0))
    await page.click('.more summary')
    await tabTo(page, '#steps')
    const { y = 0 } = (await page.locator('.shutter').boundingBox()) ?? {}
    assert.ok((await bottom('#steps')) <= y)
  }
})

test('words that name a background beside the chosen one are pointed out, and taken out at a press', async () => {
  await using visitor = await here.visit()
  const { page } = visitor
  await page.locator('.swatch', { hasText: 'Marble' }).click()
  await page.fill('#prompt', 'an avocado on a pink background')
  await page.getByText('Your words also say “on a pink background”.').waitFor()
  await page.getByRole('button', { name: 'Take them out' }).click()
  assert.equal(await page.inputValue('#prompt'), 'an avocado')
  assert.equal(await page.locator('.background-note').isVisible(), false)
  await page.getByRole('link', { name: '3 red apples' }).click()
  assert.equal(await chosen(page), 'As described')
})
