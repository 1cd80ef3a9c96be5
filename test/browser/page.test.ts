import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AppError } from '../../src/jobs/errors.ts'
import { openPage } from './open-page.ts'
import { choose, chosenOf, overflows, send, tabTo, widthOf } from './visit.ts'

const here = openPage()

const phone = { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true }

test('a job goes from the queue to the picture, on its card and for a screen reader', async () => {
  await using visitor = await here.visit()
  const { page } = visitor
  const live = page.locator('#live')
  await page.fill('#prompt', 'a red apple')
  await page.click('.shutter')
  const card = page.locator('article.job')
  await card.getByText('Waiting: 2 jobs before yours').waitFor()
  await live.getByText('Waiting: 2 jobs before yours: a red apple').waitFor({ state: 'attached' })

  here.studio.move({ status: 'running', progress: { step: 8, steps: 20 } })
  await card.getByText('Step 8 of 20').waitFor()
  assert.equal(await card.locator('progress').getAttribute('max'), '20')
  await live.getByText('Started: a red apple').waitFor({ state: 'attached' })

  here.studio.finish()
  const image = card.locator('img')
  await image.waitFor()
  assert.equal(await widthOf(image), 256)
  assert.equal(await image.getAttribute('alt'), 'a red apple')
  await live.getByText('Done: a red apple').waitFor({ state: 'attached' })
  assert.equal(await page.locator('article.job').count(), 1)
  visitor.assertQuiet()
})

test('the bar moves between two answers, and not beyond what the service says', async () => {
  await using visitor = await here.visit()
  const { page } = visitor
  await send(page, 'a red apple')
  here.studio.move({
    status: 'running',
    progress: { step: 2, steps: 20 },
    eta_seconds: 1,
    poll_after_ms: 600_000,
  })
  await page.getByText('Step 19 of 20').waitFor()
  assert.equal(await page.locator('article progress').evaluate((bar) => bar.value), 19)
})

test('while a job runs, the page leaves the processor to the worker', async () => {
  await using visitor = await here.visit()
  const { page } = visitor
  await send(page, 'a red apple')
  const progress = { step: 2, steps: 20 }
  here.studio.move({ status: 'running', progress, eta_seconds: 600, poll_after_ms: 600_000 })
  await page.getByText('Step 2 of 20').waitFor()
  const changes: number = await page.evaluate(`new Promise((resolve) => {
    let seen = 0
    const options = { subtree: true, childList: true, attributes: true, characterData: true }
    new MutationObserver((records) => { seen += records.length }).observe(document.body, options)
    setTimeout(() => resolve(seen), 2000)
  })`)
  // with each frame it would be at least 120
  assert.ok(changes > 0 && changes < 60, `${changes} changes in 2 s`)
})

test('the picture can be downloaded, and its settings used again in place', async () => {
  await using visitor = await here.visit()
  const { page } = visitor
  await page.fill('#prompt', 'a green bottle')
  await page.selectOption('#size', '192x256')
  await page.click('.shutter')
  await page.locator('article.is-queued').waitFor()
  here.studio.finish()
  const download = page.getByRole('link', { name: 'Download' })
  const [file] = await Promise.all([page.waitForEvent('download'), download.click()])
  assert.equal(file.suggestedFilename(), 'a-green-bottle-7.png')

  await page.fill('#prompt', 'something else')
  await page.getByRole('link', { name: 'Copy settings' }).click()
  assert.equal(await page.inputValue('#prompt'), 'a green bottle')
  assert.equal(await page.inputValue('#seed'), '')
  assert.equal(await page.inputValue('#size'), '192x256')
  assert.equal(await page.inputValue('#width'), '')
  assert.equal(await page.locator('#seed').isVisible(), false)
  await page.getByText('All settings', { exact: true }).click()
  await page.locator('.seed-link').click()
  assert.equal(await page.inputValue('#seed'), '7')
  assert.ok(await page.locator('#seed').isVisible())
  assert.equal(await page.locator(':focus').getAttribute('id'), 'prompt')
  await page.keyboard.press('Enter')
  await page.locator('article.is-queued').waitFor()
  assert.equal(here.studio.newest.request?.seed, 7)
  visitor.assertQuiet()
})

test('an example fills in the prompt and leaves the rest', async () => {
  await using visitor = await here.visit()
  const { page } = visitor
  await choose(page, 'count', '3')
  await page.getByRole('link', { name: 'a pink doughnut' }).click()
  assert.equal(await page.inputValue('#prompt'), 'a pink doughnut')
  assert.equal(await chosenOf(page, 'count'), '3')
})

test('everything is done with the keyboard alone', async () => {
  here.studio.pollAfterMs = 1000
  await using visitor = await here.visit()
  const { page } = visitor
  await page.keyboard.press('Tab')
  assert.equal(await page.locator(':focus').textContent(), 'Skip to the content')
  await tabTo(page, '#prompt')
  await page.keyboard.type('a red apple')
  await page.keyboard.press('Shift+Enter')
  await page.keyboard.type('on paper')
  assert.equal(here.studio.submitted, 0)
  await page.keyboard.press('Enter')
  await page.locator('article.is-queued').waitFor()
  assert.equal(here.studio.newest.request?.prompt, 'a red apple on paper')
  await tabTo(page, '.more summary')
  await page.keyboard.press('Enter')
  await page.locator('#seed').waitFor()
  await tabTo(page, 'article button')
  here.studio.move({ status: 'running', progress: { step: 1, steps: 20 } })
  await page.locator('article.is-running').waitFor()
  assert.equal(await page.locator(':focus').textContent(), 'Cancel')
  await page.keyboard.press('Enter')
  await page.getByText('Stopping…').waitFor()
  here.studio.move({ status: 'canceled' })
  await page.locator('article.is-canceled:focus').waitFor()
  visitor.assertQuiet()
})

test('a button works from the moment it is there', async () => {
  here.studio.pollAfterMs = 1000
  await using visitor = await here.visit()
  const { page } = visitor
  await send(page, 'a red apple')
  await page.evaluate(`new MutationObserver((_, observer) => {
    const cancel = document.querySelector('article.is-running button')
    if (cancel === null) return
    observer.disconnect()
    cancel.click()
  }).observe(document.body, { childList: true, subtree: true })`)
  here.studio.move({ status: 'running', progress: { step: 1, steps: 20 } })
  await page.getByText('Stopping…').waitFor()
  assert.equal(page.url(), `${here.url}/`)
  visitor.assertQuiet()
})

test('a fault stands beside its field, has the focus, and goes with the next try', async () => {
  await using visitor = await here.visit()
  const { page } = visitor
  await page.fill('#prompt', 'a red apple')
  await page.click('.more summary')
  await page.fill('#steps', '500')
  await page.fill('#negative_prompt', 'blurry')
  await page.click('.shutter')
  const error = page.locator('#steps-error')
  await error.waitFor()
  assert.match((await error.textContent()) ?? '', /from 1 to 100, but was 500/)
  assert.equal(await page.inputValue('#prompt'), 'a red apple')
  assert.equal(await page.inputValue('#negative_prompt'), 'blurry')
  assert.equal(await page.locator(':focus').getAttribute('id'), 'steps')
  assert.equal(await page.locator('#steps').getAttribute('aria-invalid'), 'true')
  assert.equal(here.studio.submitted, 0)
  await page.fill('#steps', '10')
  await page.click('.shutter')
  await page.locator('article.is-queued').waitFor()
  assert.equal(await page.locator('.field-error').count(), 0)
  visitor.assertQuiet()
})

test('a full queue is said beside the button', async () => {
  here.studio.refusal = new AppError('queue_full', 'The queue is full.', { retryAfterSeconds: 5 })
  await using visitor = await here.visit()
  const { page } = visitor
  await page.fill('#prompt', 'a red apple')
  await page.click('.shutter')
  await page.getByRole('alert').getByText('The queue is full.').waitFor()
  assert.equal(await page.inputValue('#prompt'), 'a red apple')
})

test('cancel stops a running job', async () => {
  await using visitor = await here.visit()
  const { page } = visitor
  await send(page, 'a red apple')
  here.studio.move({ status: 'running', progress: { step: 1, steps: 20 }, poll_after_ms: 600_000 })
  await page.locator('article.is-running').waitFor()
  here.studio.move({ status: 'running', poll_after_ms: 100 })
  await page.getByRole('button', { name: 'Cancel' }).click()
  await page.getByRole('button', { name: 'Stopping…' }).waitFor()
  here.studio.move({ status: 'canceled' })
  await page.getByText('Canceled. No picture was taken.').waitFor()
  visitor.assertQuiet()
})

test('a reload keeps the cards, newest first; one that is gone leaves; the list can be cleared', async () => {
  await using visitor = await here.visit()
  const { page } = visitor
  for (const prompt of ['first', 'second']) {
    await page.fill('#prompt', prompt)
    await page.click('.shutter')
    await page.getByRole('heading', { name: prompt }).waitFor()
    here.studio.finish()
  }
  const forgotten = here.studio.newest.id
  await page.reload()
  await page.locator('article.is-succeeded').nth(1).waitFor({ state: 'attached' })
  assert.deepEqual(await page.locator('article.job h3').allTextContents(), ['second', 'first'])
  here.studio.forget(forgotten)
  await page.reload()
  await page.locator('#jobs > article:only-child img').waitFor()
  await page.getByRole('button', { name: 'Clear the list' }).click()
  await page.getByText('Studio photos, from words').waitFor()
  await page.reload()
  await page.getByText('Studio photos, from words').waitFor()
  visitor.assertQuiet()
})

test('a card outlives a server that is away', async () => {
  await using visitor = await here.visit()
  const { page } = visitor
  await send(page, 'a red apple')
  await page.route('**/card', (route) =>
    route.fulfill({ status: 502, contentType: 'text/html', body: '<b>proxy</b>' }),
  )
  await page.locator('.away').waitFor()
  assert.equal(await page.getByText('proxy').count(), 0)
  await page.unroute('**/card')
  here.studio.finish()
  await page.locator('article.is-succeeded img').waitFor()
  assert.equal(await page.locator('.away').count(), 0)
})

test('a form that cannot be sent says so and keeps its text', async () => {
  await using visitor = await here.visit()
  const { page } = visitor
  await page.route('**/jobs', (route) => route.abort())
  await page.fill('#prompt', 'a red apple')
  await page.click('.shutter')
  await page.getByRole('alert').getByText('The server does not answer').waitFor()
  assert.equal(await page.inputValue('#prompt'), 'a red apple')
})

test('hostile text is shown as text and breaks nothing, on a phone too', async () => {
  const hostile = [
    `<script>document.title='broken'</script><img src=x onerror="document.title='broken'"> "' {{x}} \${y}`,
    'long'.repeat(480),
    '\u202eright to left مرحبا بالعالم 🍎🍏',
  ]
  for (const options of [{}, phone]) {
    await using visitor = await here.visit(options)
    const { page } = visitor
    for (const prompt of hostile) {
      await page.fill('#prompt', prompt)
      await page.click('.shutter')
      await page.locator('article.is-queued').waitFor()
      assert.equal(await page.locator('article.is-queued h3').textContent(), prompt)
      here.studio.finish()
      await page.locator('article.is-queued').waitFor({ state: 'detached' })
      assert.equal(await overflows(page), false)
    }
    assert.equal(await page.title(), 'Packshot')
    await page.goto(`${here.url}/jobs/${here.studio.newest.id}`)
    assert.equal(await overflows(page), false)
    visitor.assertQuiet()
  }
})

test('on a phone nothing is wider than the screen or too small for a thumb', async () => {
  await using visitor = await here.visit(phone)
  const { page } = visitor
  await page.click('.more summary')
  await page.fill('#prompt', 'four mugs')
  await choose(page, 'count', '4')
  await page.click('.shutter')
  await page.locator('article.is-queued').waitFor()
  here.studio.finish()
  await page.locator('article.is-succeeded').waitFor()
  assert.equal(await overflows(page), false)
  const controls =
    'button, summary, select, input:not(.visually-hidden), textarea, .btn, .segment, .format, .example'
  for (const control of await page.locator(controls).filter({ visible: true }).all()) {
    const { height = 0 } = (await control.boundingBox()) ?? {}
    assert.ok(height >= 44, `${await control.textContent()} is ${height} pixels high`)
  }
})

test('a card that is looked at asks each second, whatever the service tells programs, and counts the pictures', async () => {
  here.studio.pollAfterMs = 600_000
  await using visitor = await here.visit()
  const { page } = visitor
  await page.fill('#prompt', 'four mugs')
  await choose(page, 'count', '4')
  await page.click('.shutter')
  await page.locator('article.is-queued').waitFor()
  await page.waitForFunction(`document.title.startsWith('(1) ')`)
  await page.getByText('7 s left').waitFor()
  here.studio.move({ status: 'running', progress: { step: 27, steps: 80 }, eta_seconds: 600 })
  await page.getByText('Picture 2 of 4, step 7 of 20').waitFor()
  await page.waitForFunction(`document.title === '(1) 10 min left · Packshot'`)
  here.studio.finish()
  await page.locator('article.is-succeeded').waitFor()
  assert.equal(await page.title(), 'Packshot')
  visitor.assertQuiet()
})

test('a hidden page asks once and then seldom, and at once when it is shown again', async () => {
  await using visitor = await here.visit()
  const { page } = visitor
  let asked = 0
  page.on('request', (request) => {
    if (request.url().endsWith('/card')) asked += 1
  })
  const show = (hidden: boolean) =>
    page.evaluate(`Object.defineProperty(document, 'hidden', { value: ${hidden}, configurable: true })
      document.dispatchEvent(new Event('visibilitychange'))`)
  await send(page, 'a red apple')
  await show(true)
  await page.waitForTimeout(500)
  const before = asked
  await page.waitForTimeout(1500)
  assert.equal(asked, before)
  here.studio.finish()
  await show(false)
  await page.locator('article.is-succeeded').waitFor()
  visitor.assertQuiet()
})
