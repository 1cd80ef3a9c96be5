import assert from 'node:assert/strict'
import { mkdirSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { Page } from 'playwright-core'
import { encodePng } from '../../src/diffusion/output/png.ts'
import { openPage } from './open-page.ts'
import { overflows } from './visit.ts'

/** The rooms in a browser: every state of every page without a violation that axe-core finds, and what needs scripts. */

const here = openPage()
const axe = fileURLToPath(import.meta.resolve('axe-core/axe.min.js'))
const looks = [
  { name: 'desk-light', colorScheme: 'light', viewport: { width: 1440, height: 900 } },
  { name: 'desk-dark', colorScheme: 'dark', viewport: { width: 1440, height: 900 } },
  { name: 'phone-light', colorScheme: 'light', viewport: { width: 390, height: 844 } },
  { name: 'phone-dark', colorScheme: 'dark', viewport: { width: 390, height: 844 } },
] as const

const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']
/** Where screenshots go, to be looked at; absent: none are taken. */
const { TEST_SCREENSHOTS: shots } = process.env

/** The script is evaluated by the browser's own protocol: the page's policy lets no script in. */
async function check(page: Page, what: string): Promise<string[]> {
  if ((await page.evaluate('typeof axe')) === 'undefined') await page.evaluate(await readFile(axe, 'utf8'))
  const run = `axe.run(document, { runOnly: ${JSON.stringify(tags)}, resultTypes: ['violations'] })
    .then(({ violations }) => violations.map(({ id, nodes }) => id + ': ' + nodes.map(({ html }) => html.slice(0, 160)).join(' | ')))`
  const found = (await page.evaluate(run)) as string[]
  return found.map((each) => `${what}: ${each}`)
}

test('no state of any page has a violation, light or dark, on a desk or a phone', async () => {
  const violations: string[] = []
  if (shots !== undefined) mkdirSync(shots, { recursive: true })
  for (const { name, ...options } of looks) {
    await using visitor = await here.visit(options)
    const { page } = visitor
    const at = async (state: string, path?: string) => {
      if (path !== undefined) await page.goto(`${here.url}${path}`)
      const what = `${name} ${state}`
      violations.push(...(await check(page, what)))
      if (await overflows(page)) violations.push(`${what}: scrolls sideways`)
      if (shots !== undefined) await page.screenshot({ path: `${shots}/${name}-${state}.png` })
    }
    await at('studio-empty')
    await at('pictures-empty', '/pictures')
    await page.goto(here.url)
    await page.fill('#prompt', 'a red apple')
    await page.click('.shutter')
    await page.locator('article.is-queued').waitFor()
    await at('queued')
    here.studio.move({ status: 'running', progress: { step: 3, steps: 20 } })
    await page.locator('article.is-running').waitFor()
    await at('running')
    here.studio.finish()
    await page.locator('article.is-succeeded').waitFor()
    await page.locator('.api-call summary').click()
    await at('done')
    await at('pictures', '/pictures')
    await page.locator('.tile-like').first().click()
    await page.locator('.tile-like[aria-pressed="true"]').first().waitFor()
    await page.locator('.tile [type=checkbox]').first().check()
    await at('pictures-chosen')
    await page.getByRole('button', { name: 'Delete' }).click()
    await at('delete-question')
    await at('models', '/models')
    await at('job', `/jobs/${here.studio.newest.id}`)
    await at('not-found', '/nothing')
    await page.goto(here.url)
    await page.locator('.save-look summary').click()
    await page.fill('#prompt', 'a pear')
    await page.fill('#look_name', 'Soft')
    await page.press('#look_name', 'Enter')
    await page.locator('.looks a').waitFor()
    await at('looks')
    visitor.assertQuiet()
  }
  assert.deepEqual(violations, [])
})

test('a picture that is dropped on the page of pictures fills the form with its settings', async () => {
  await using visitor = await here.visit()
  const { page } = visitor
  await page.goto(`${here.url}/pictures`)
  const parameters =
    'a green pear\nSteps: 7, Sampler: Euler, CFG scale: 4, Seed: 3, Size: 192x256, Model: elsewhere'
  const file = encodePng({ width: 1, height: 1, rgb: new Uint8Array(3) }, { parameters })
  const data = Buffer.from(file).toString('base64')
  await page.evaluate(`{
    const bytes = Uint8Array.from(atob('${data}'), (each) => each.charCodeAt(0))
    const dataTransfer = new DataTransfer()
    dataTransfer.items.add(new File([bytes], 'a.png', { type: 'image/png' }))
    document.body.dispatchEvent(new DragEvent('drop', { bubbles: true, cancelable: true, dataTransfer }))
  }`)
  await page.getByText('The model elsewhere is not here').waitFor()
  assert.equal(await page.inputValue('#prompt'), 'a green pear')
  assert.equal(await page.inputValue('#steps'), '7')
  visitor.assertQuiet()
})
