import { after, afterEach, before, beforeEach } from 'node:test'
import type { Browser, BrowserContextOptions } from 'playwright-core'
import { startBrowser } from './chromium.ts'
import { openStudio, Studio } from './studio.ts'
import { type Visit, visit } from './visit.ts'

/** What the tests of a file have: one browser for all of them, and for each a studio behind a server of its own. */
export interface OpenPage {
  readonly studio: Studio
  readonly url: string
  /** For a server of a test's own. */
  readonly browser: Browser
  visit(options?: BrowserContextOptions): Promise<Visit>
}

/** @param prepare what each studio is before its server opens */
export function openPage(prepare: (studio: Studio) => void = () => {}): OpenPage {
  let browser: Browser
  let studio: Studio
  let server: { url: string; close(): Promise<void> }
  before(async () => {
    browser = await startBrowser()
  })
  after(() => browser.close())
  beforeEach(async () => {
    studio = new Studio()
    prepare(studio)
    server = await openStudio(studio)
  })
  afterEach(() => server.close())
  return {
    get studio() {
      return studio
    },
    get browser() {
      return browser
    },
    get url() {
      return server.url
    },
    visit: (options) => visit(browser, server.url, options),
  }
}
