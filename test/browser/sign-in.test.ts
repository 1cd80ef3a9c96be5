import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { Browser } from 'playwright-core'
import { lastFirst } from '../cleanup.ts'
import { keyed } from '../jobs/keyed.ts'
import { startBrowser } from './chromium.ts'
import { overflows, visit } from './visit.ts'

let browser: Browser
before(async () => {
  browser = await startBrowser()
})
after(() => browser.close())

test('a visitor signs in with a key, takes and cancels a picture, and signs out', async (t) => {
  const name = 'a-caller-whose-name-has-all-40-letters--'
  const { app, keyOf } = await keyed(t, { callers: { [name]: {} } })
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  lastFirst(t).after(() => app.server.closeAllConnections())
  await using visitor = await visit(browser, `${url}/?prompt=a+pear`, {
    viewport: { width: 390, height: 844 },
  })
  const { page } = visitor
  await page.fill('#key', 'pks_wrong')
  await page.keyboard.press('Enter')
  await page.waitForSelector('#key-error')
  assert.equal(await overflows(page), false)
  await page.fill('#key', keyOf(name))
  await page.keyboard.press('Enter')
  await page.waitForSelector('.visitor-name')
  assert.equal(await page.inputValue('#prompt'), 'a pear')
  assert.equal(await page.textContent('.visitor-name'), name)
  assert.equal(await overflows(page), false)
  await page.click('.shutter')
  await page.click('.job form button')
  await page.waitForSelector('.job.is-canceled')
  await page.click('.visitor button')
  await page.waitForSelector('#key')
  await page.goto(url)
  assert.match(page.url(), /\/sign-in\?next=%2F$/)
  visitor.assertQuiet()
})
