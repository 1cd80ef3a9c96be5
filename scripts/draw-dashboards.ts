import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { startBrowser } from '../test/browser/chromium.ts'
import { dashboards } from './dashboards/all.ts'
import { pageOf } from './drawing/page.ts'

/**
 * Draws a dashboard without Grafana: the same queries, asked of a running Prometheus.
 *
 *   node scripts/draw-dashboards.ts http://127.0.0.1:9090 overview docs/dashboard-overview.jpg --minutes 30 --scrape-seconds 15
 *
 * A file that ends in .html gets the page itself.
 */
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    minutes: { type: 'string', default: '60' },
    'scrape-seconds': { type: 'string', default: '15' },
  },
})
const [address, name, file] = positionals
const dashboard = dashboards[`${name}.json`]
if (!address || !dashboard || !file) {
  const names = Object.keys(dashboards).map((each) => each.replace('.json', ''))
  throw new Error(
    `usage: node scripts/draw-dashboards.ts <address of Prometheus> <${names.join('|')}> <file>`,
  )
}
const to = Date.now() / 1000
const from = to - Number(values.minutes) * 60
const scrapeSeconds = Number(values['scrape-seconds'])
const range = { from, to, step: Math.max(scrapeSeconds, (to - from) / 300) }
const page = await pageOf(dashboard, { address, range, scrapeSeconds })
if (file.endsWith('.html')) writeFileSync(file, page)
else {
  await using browser = await startBrowser()
  const tab = await browser.newPage({ viewport: { width: 1424, height: 800 } })
  await tab.setContent(page)
  await tab.screenshot({ path: file, type: 'jpeg', quality: 80, fullPage: true })
}
