import assert from 'node:assert/strict'
import type { Browser, BrowserContextOptions, Locator, Page } from 'playwright-core'
import { deadline } from '../kit/waiting.ts'

/** What a visitor's browser held against the page: faults in scripts, and what the security policy stopped. */
export interface Visit extends AsyncDisposable {
  readonly page: Page
  /** Fails if the console has complaints other than harmless ones. */
  assertQuiet(): void
}

/**
 * What the console names though nothing is wrong: an answer of 4xx or 5xx, whatever the page does with it, and a
 * card's question that a cancellation called off (htmx logs it as two events).
 */
const harmless = /^Failed to load resource: |^htmx:(afterRequest|sendAbort), /

/**
 * A fresh visitor without history, who looks at the page at `url`; patient, since a busy machine is slow, not wrong. Motion
 * is reduced unless `options` says otherwise: what moves while a card waits takes a part of a core.
 */
export async function visit(
  browser: Browser,
  url: string,
  options: BrowserContextOptions = {},
): Promise<Visit> {
  const context = await browser.newContext({
    viewport: { width: 1280, height: 860 },
    reducedMotion: 'reduce',
    ...options,
  })
  context.setDefaultTimeout(120_000)
  const page = await context.newPage()
  const complaints: string[] = []
  page.on('pageerror', (error) => complaints.push(error.message))
  page.on('console', (message) => {
    const bad = message.type() === 'error' || message.type() === 'warning'
    if (bad && !harmless.test(message.text())) complaints.push(message.text())
  })
  await page.goto(url)
  return {
    page,
    assertQuiet: () => assert.deepEqual(complaints, []),
    [Symbol.asyncDispose]: () => context.close(),
  }
}

/** Resolves once the job has its card, which shows that it waits. */
export async function send(page: Page, prompt: string): Promise<void> {
  await page.fill('#prompt', prompt)
  await page.click('.shutter')
  await page.locator('article.is-queued.is-current').waitFor()
}

/** Whether something is wider than the window, so that a phone would scroll sideways. */
export function overflows(page: Page): Promise<boolean> {
  const width = page.viewportSize()?.width ?? 0
  return page.locator('html').evaluate((root, most) => root.scrollWidth > most, width)
}

/**
 * Parts that lie over one another, leave what they are in, or are lower than a line of their words: a row that is too low, a word that is
 * too long. Not those that are taken out of the flow, and not what scrolls or has a negative margin.
 */
export function misplaced(page: Page): Promise<string[]> {
  return page.evaluate(`{
    const name = (element) => element.outerHTML.slice(0, element.outerHTML.indexOf('>') + 1)
    const inFlow = (element) => {
      const { position, display } = getComputedStyle(element)
      const stays = position === 'static' || position === 'relative'
      return stays && !['inline', 'contents'].includes(display) && element.checkVisibility()
    }
    const found = []
    for (const element of document.querySelectorAll('body, body :not(svg, svg *, select *)')) {
      if (!inFlow(element)) continue
      if (element.innerText.trim() !== '' && element.clientHeight < parseFloat(getComputedStyle(element).fontSize))
        found.push(name(element) + ' is squeezed')
      const { right, bottom } = element.getBoundingClientRect()
      const clips = getComputedStyle(element).overflow !== 'visible'
      const parts = [...element.children].filter(inFlow).map((part) => ({ part, box: part.getBoundingClientRect() }))
      for (const [index, { part, box }] of parts.entries()) {
        const beyond = box.right + Math.min(0, Number.parseFloat(getComputedStyle(part).marginRight)) - right
        if (!clips && Math.max(beyond, box.bottom - bottom) > 8)
          found.push(name(part) + ' leaves ' + name(element))
        for (const next of parts.slice(index + 1)) {
          const across = Math.min(box.right, next.box.right) - Math.max(box.left, next.box.left)
          const down = Math.min(box.bottom, next.box.bottom) - Math.max(box.top, next.box.top)
          if (Math.min(across, down) > 2) found.push(name(part) + ' lies over ' + name(next.part))
        }
      }
    }
    found
  }`)
}

/** Presses Tab until the element has the focus, as someone without a mouse does. */
export async function tabTo(page: Page, selector: string): Promise<void> {
  const isOver = deadline(20_000)
  for (let presses = 0; presses < 40 || !isOver(); presses++) {
    await page.keyboard.press('Tab')
    if (await page.locator(selector).evaluate((element) => element.matches(':focus'))) return
  }
  throw new Error(`${selector} cannot be reached with the Tab key`)
}

/** Chooses one of a few radio buttons by its label, as a pointer does: the buttons themselves are not in sight. */
export async function choose(page: Page, name: string, value: string): Promise<void> {
  await page.locator(`label:has(input[name="${name}"][value="${value}"])`).click()
}

/** Puts a text into a field that the page shows in another way. */
export async function setText(page: Page, selector: string, text: string): Promise<void> {
  await page.locator(selector).evaluate((field, value) => {
    field.value = value
    field.dispatchEvent(new Event('change', { bubbles: true }))
  }, text)
}

/** What is chosen of them. */
export function chosenOf(page: Page, name: string): Promise<string | null> {
  return page.locator(`input[name="${name}"]:checked`).getAttribute('value')
}

/** The width of a picture in its own pixels, as soon as the browser has decoded it. */
export async function widthOf(image: Locator): Promise<number> {
  return image.evaluate(async (element) => {
    await element.decode()
    return element.naturalWidth
  })
}
