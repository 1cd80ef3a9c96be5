import { parseArgs } from 'node:util'
import { startBrowser } from '../test/browser/chromium.ts'

/**
 * The screenshot for the README: requests a few products from a running Packshot and captures the page.
 *
 *   node scripts/screenshot.ts http://127.0.0.1:8080 docs/screenshot.jpg
 */

const last = { prompt: 'an avocado on a pink background', seed: '4' }
const requests = [
  { prompt: 'a pineapple on a yellow background', seed: '2' },
  { prompt: 'a bottle of orange juice on light blue', seed: '3' },
  { prompt: 'a kiwi on a purple background', seed: '13' },
  last,
]

const { positionals } = parseArgs({ allowPositionals: true })
const [address, file] = positionals
if (!address || !file) throw new Error('usage: node scripts/screenshot.ts <address> <file>')

await using browser = await startBrowser()
const page = await browser.newPage({ viewport: { width: 1440, height: 900 }, reducedMotion: 'reduce' })
for (const [index, request] of requests.entries()) {
  await page.goto(new URL(`/?${new URLSearchParams(request)}`, address).href)
  await page.locator('#prompt').press('Enter')
  await page.locator('article[data-status="succeeded"]').nth(index).waitFor({ state: 'attached' })
}
await page.goto(new URL(`/?${new URLSearchParams({ prompt: last.prompt })}`, address).href)
await page.locator('article.is-current img').waitFor()
await page.screenshot({ path: file, type: 'jpeg', quality: 90 })
