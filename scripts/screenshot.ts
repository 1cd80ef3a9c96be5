import { parseArgs } from 'node:util'
import { startBrowser } from '../test/browser/chromium.ts'

/**
 * The picture of the page for the README: asks a running Packshot for a few products and photographs the page.
 *
 *   node scripts/screenshot.ts http://127.0.0.1:8080 docs/screenshot.png
 */

const requests = [
  { prompt: 'a yellow mug on a blue background', seed: '25' },
  { prompt: 'a pink doughnut', seed: '11' },
  { prompt: 'a green wine bottle', seed: '13' },
  { prompt: 'a red apple', seed: '0' },
]

const { positionals } = parseArgs({ allowPositionals: true })
const [address, file] = positionals
if (!address || !file) throw new Error('usage: node scripts/screenshot.ts <address> <file>')

await using browser = await startBrowser()
const page = await browser.newPage({ viewport: { width: 1280, height: 880 }, reducedMotion: 'reduce' })
for (const [index, request] of requests.entries()) {
  await page.goto(new URL(`/?${new URLSearchParams(request)}`, address).href)
  await page.locator('#prompt').press('Enter')
  await page.locator('article[data-status="succeeded"]').nth(index).waitFor()
}
await page.goto(new URL('/?prompt=a+red+apple', address).href)
await page
  .locator('article img')
  .nth(requests.length - 1)
  .waitFor()
await page.screenshot({ path: file })
