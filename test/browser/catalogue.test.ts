import assert from 'node:assert/strict'
import { test } from 'node:test'
import { lastFirst, tempFolder } from '../cleanup.ts'
import { startServer } from '../service/server-process.ts'
import { startBrowser } from './chromium.ts'
import { ballPng } from './png.ts'
import { overflows, visit } from './visit.ts'

test('a list is pasted, its faults are shown, and the lines of its run fill by themselves', async (t) => {
  const server = startServer(t, { PACKSHOT_DATA_DIR: tempFolder(t) })
  const [address, browser] = await Promise.all([server.address, startBrowser()])
  lastFirst(t).after(() => browser.close())
  await using visitor = await visit(browser, `${address}/catalogues`, {
    viewport: { width: 390, height: 800 },
  })
  const { page } = visitor
  const list = (rows: readonly string[]) => `sku,title\n${rows.join('\n')}\n`
  await page.fill('#list', list(['A-1,a bottle', 'A-1,a vase']))
  await page.getByText('2 products × 1 set = 2 pictures').waitFor()
  await page.locator('.list-fine summary').click()
  assert.equal(await page.inputValue('#template'), '{product}')
  await page.locator('#template').press('End')
  await page.click('#columns button:text-is("sku")')
  assert.equal(await page.inputValue('#template'), '{product} {sku}')
  await page.fill('#file-name', '{sku}')
  await page.click('.shutter')
  await page.getByText('Row 2: The file name "A-1" is that of row 1 too.').waitFor()
  assert.equal(await page.inputValue('#list'), list(['A-1,a bottle', 'A-1,a vase']))

  // chosen as a file
  const rows = Array.from({ length: 30 }, (_, n) => `P-${n},a vase ${n}`)
  await page.setInputFiles('#list-file', {
    name: 'products.csv',
    mimeType: 'text/csv',
    buffer: Buffer.from(list(rows)),
  })
  await page.waitForFunction('document.querySelector("#list").value.includes("P-29")')
  await page.click('.shutter')
  await page.waitForURL(/\/catalogues\/[0-9a-z]{42}$/)
  await page.getByText('Done', { exact: true }).first().waitFor()
  await page.locator('.run-line').last().scrollIntoViewIfNeeded()
  await page.locator('.run-line').nth(29).waitFor()
  await page.locator('.run-line.is-succeeded').nth(29).scrollIntoViewIfNeeded()
  await page.locator('#run-state[data-status=finished]').waitFor()
  assert.equal(await overflows(page), false)
  assert.equal(await page.getByRole('button', { name: 'Pause' }).count(), 0)
  await page.goto(`${address}/catalogues`)
  await page.getByRole('link', { name: /30 pictures/ }).waitFor()

  // photos are sent when they are chosen, and lines name them
  await page.setInputFiles('#list-photos', [
    { name: 'red-mug.png', mimeType: 'image/png', buffer: Buffer.from(ballPng(64, 64)) },
    { name: 'broken.png', mimeType: 'image/png', buffer: Buffer.from('none') },
  ])
  await page.locator('#photo-help.field-error').getByText('broken.png: ').waitFor()
  assert.equal(await page.inputValue('#list'), 'red-mug; red mug; red-mug.png')
  await page.locator('label:has([name="set:wood"])').click()
  await page.fill('#variants', '2')
  await page.getByText('1 product × 2 sets × 2 each = 4 pictures').waitFor()
  await page.click('.shutter')
  await page.waitForURL(/\/catalogues\/[0-9a-z]{42}$/)
  await page.locator('.run-line').getByText('red mug, on a wooden table').first().waitFor()
  visitor.assertQuiet()
})
