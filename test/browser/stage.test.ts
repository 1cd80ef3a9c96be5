import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Page } from 'playwright-core'
import { anonymousCaller } from '../../src/jobs/caller.ts'
import { openPage } from './open-page.ts'
import { ballPng } from './png.ts'
import { choose, chosenOf, misplaced, overflows, send } from './visit.ts'

/** The stage with its film, what is done with a picture on it, and what the panel sends of formats and finishes. */

const here = openPage((studio) => {
  studio.about = {
    controls: {
      light: { Soft: 'soft light', Side: 'hard side light' },
      view: { Front: 'front view', Above: 'seen from above' },
      count: { 1: 'one', 2: 'two' },
    },
  }
})

async function take(page: Page, prompt: string, count = '1'): Promise<void> {
  await page.fill('#prompt', prompt)
  await choose(page, 'count', count)
  await page.click('.shutter')
  await page.locator('article.is-current.is-queued').waitFor()
  here.studio.finish()
  await page.locator('article.is-current.is-succeeded').waitFor()
}

const titleOnStage = (page: Page) => page.locator('article.is-current h3').textContent()

test('the newest job is on the stage, the film brings the others back, and arrow keys go through pictures', async () => {
  await using visitor = await here.visit()
  const { page } = visitor
  await take(page, 'a pear')
  await take(page, 'four mugs', '4')
  assert.equal(await titleOnStage(page), 'four mugs')
  assert.equal(await page.locator('article:visible').count(), 1)
  await page.getByRole('button', { name: 'a pear, done' }).click()
  assert.equal(await titleOnStage(page), 'a pear')
  await page.keyboard.press('ArrowLeft')
  assert.equal(await titleOnStage(page), 'four mugs')
  assert.equal(await page.locator('.is-current .frame:visible').count(), 4)

  // one of four, the next, all again
  await page.locator('.is-current .frame-link').nth(1).click()
  await page.locator('.is-current[data-shown="1"]').waitFor()
  assert.equal(await page.locator('.is-current .frame:visible').count(), 1)
  await page.getByText('Picture 2, seed 9').waitFor()
  await page.keyboard.press('ArrowRight')
  await page.getByText('Picture 3, seed 10').waitFor()
  // over the whole window, and back
  await page.locator('.is-current .is-shown .frame-link').click()
  await page.locator('.is-viewing').waitFor()
  assert.equal(await page.locator('.is-current .job-body').isVisible(), false)
  await page.keyboard.press('Escape')
  await page.keyboard.press('Escape')
  assert.equal(await page.locator('.is-current .frame:visible').count(), 4)

  // not while somebody types
  await page.fill('#prompt', 'a cup')
  await page.keyboard.press('ArrowLeft')
  assert.equal(await titleOnStage(page), 'four mugs')
  visitor.assertQuiet()
})

test('the picture on the stage is as large as the window allows, and the panel scrolls by itself', async () => {
  await using visitor = await here.visit({ viewport: { width: 1440, height: 900 } })
  const { page } = visitor
  await take(page, 'a pear')
  const box = await page.locator('.is-current .frame-link img').boundingBox()
  assert.ok((box?.height ?? 0) >= 600, `${box?.height} pixels high`)
  assert.match((await page.locator('.job-scale').textContent()) ?? '', /^shown [\d.]+×$/)
  assert.equal(await page.evaluate('document.documentElement.scrollHeight <= innerHeight'), true)
  const foot = await page.locator('.panel-foot').boundingBox()
  await page.locator('.panel-scroll').evaluate((panel) => {
    panel.scrollTop = panel.scrollHeight
  })
  assert.deepEqual(await page.locator('.panel-foot').boundingBox(), foot)
  visitor.assertQuiet()
})

test('a long film scrolls by itself: the page keeps its place and its width', async () => {
  await using visitor = await here.visit({ viewport: { width: 1000, height: 700 } })
  const { page } = visitor
  for (let number = 1; number <= 9; number += 1) await take(page, `pear ${number}`)
  await page.getByRole('button', { name: 'pear 1, done' }).click()
  assert.equal(await titleOnStage(page), 'pear 1')
  assert.equal((await page.locator('.panel').boundingBox())?.x, 0)
  assert.deepEqual(await misplaced(page), [])
  visitor.assertQuiet()
})

test('on a phone the picture stays in the window when it is ready, and a form that is filled in meanwhile stays where it is', async () => {
  await using visitor = await here.visit({ viewport: { width: 390, height: 844 } })
  const { page } = visitor
  const card = page.locator('article.is-current')
  const top = async (selector: string) => (await page.locator(selector).boundingBox())?.y ?? Number.NaN
  for (const prompt of ['a pear', 'a plum']) {
    await take(page, prompt)
    const box = await card.locator('.frame-link img').boundingBox()
    assert.ok(box && box.y >= 0 && box.y + box.height <= 844, `the picture is at ${box?.y}`)
  }

  await send(page, 'a fig')
  const before = await card.boundingBox()
  await page.locator('.swatch', { hasText: 'Marble' }).scrollIntoViewIfNeeded()
  await page.locator('#prompt').scrollIntoViewIfNeeded()
  const place = await top('#prompt')
  here.studio.finish()
  await page.locator('article.is-current.is-succeeded').waitFor()
  assert.ok(((await card.boundingBox())?.height ?? 0) > (before?.height ?? 0), 'the card has grown')
  assert.ok(Math.abs((await top('#prompt')) - place) < 2)

  // a frame of the film is below the picture
  await page.getByRole('button', { name: 'a pear, done' }).click()
  assert.equal(await titleOnStage(page), 'a pear')
  await page.waitForFunction(`scrollY < innerHeight / 2`)
  assert.ok(((await card.boundingBox())?.y ?? -1) >= 0)
  visitor.assertQuiet()
})

test('a job of several pictures is stopped with those that are done, without JavaScript too', async () => {
  for (const javaScriptEnabled of [true, false]) {
    await using visitor = await here.visit({ javaScriptEnabled })
    const { page } = visitor
    await page.fill('#prompt', 'a pear')
    await choose(page, 'count', '4')
    await page.click('.shutter')
    await page.locator('article.is-queued').waitFor()
    assert.equal(await page.getByRole('button', { name: 'Stop, keep what is done' }).count(), 0)
    here.studio.move({ status: 'running', progress: { step: 25, steps: 80 } })
    await page.getByRole('button', { name: 'Stop, keep what is done' }).click()
    if (javaScriptEnabled) await page.getByText('Stopping', { exact: true }).waitFor()
    assert.equal(here.studio.stopped, here.studio.newest.id)
    here.studio.finish(undefined, 1)
    await page.getByText('It was stopped: 1 of 4 pictures are done.').waitFor()
    assert.equal(await page.locator('article.is-succeeded figure').count(), 1)
    visitor.assertQuiet()
  }
})

test('a job is followed by events: its steps come without a poll, and looks at its first picture', async () => {
  // the card itself would ask seldom
  here.studio.pollAfterMs = 600_000
  await using visitor = await here.visit()
  const { page } = visitor
  await send(page, 'a pear')
  here.studio.move({ status: 'running', progress: { step: 1, steps: 100 }, eta_seconds: 5000 })
  await page.getByText('Step 1 of 100').waitFor()
  const asked: string[] = []
  page.on('request', (request) => asked.push(request.url()))
  here.studio.move({ status: 'running', progress: { step: 42, steps: 100 }, eta_seconds: 4000 })
  await page.getByText('Step 42 of 100').waitFor()
  assert.deepEqual(
    asked.filter((url) => url.endsWith('/card')),
    [],
  )
  here.studio.preview = async () => ({ index: 1, type: 'image/png', bytes: ballPng(32, 32) })
  const url = `/v1/jobs/${here.studio.newest.id}/preview?index=1`
  here.studio.move({ status: 'running', progress: { step: 43, steps: 100 }, preview: { index: 1, url } })
  await page.locator('.frame-preview[src]').waitFor()
  here.studio.finish()
  await page.locator('article.is-succeeded').waitFor()
  visitor.assertQuiet()
})

test('a finished picture is varied, begun with, and deleted, without JavaScript too', async () => {
  for (const javaScriptEnabled of [true, false]) {
    await using visitor = await here.visit({ javaScriptEnabled })
    const { page } = visitor
    await page.fill('#prompt', 'a pear')
    await page.click('.shutter')
    await page.locator('article.is-queued').waitFor()
    here.studio.finish()
    const [first, { seed }] = [here.studio.newest.id, here.studio.newest.request ?? { seed: -1 }]
    await page.getByRole('button', { name: 'Vary a little' }).click()
    await page.locator('article.is-queued').waitFor()
    const varied = here.studio.newest.request
    assert.equal(varied?.strength, 0.35)
    assert.notEqual(varied?.seed, seed)
    assert.ok(here.studio.uploads.has(varied?.init_image ?? ''))
    here.studio.finish()
    await page.locator(`#job-${here.studio.newest.id}.is-succeeded`).waitFor()
    await page.getByRole('button', { name: 'Use as photo' }).click()
    await page.locator('#init_image:not([value=""])').waitFor({ state: 'attached' })
    assert.equal(await page.inputValue('#prompt'), 'a pear')
    // the photo has the stage now: its job is brought back
    if (javaScriptEnabled) await page.locator('.film-frame').first().click()
    else await page.goto(`${here.url}/jobs/${first}`)
    page.once('dialog', (dialog) => void dialog.accept())
    await page.getByRole('button', { name: 'Delete', exact: true }).click()
    if (javaScriptEnabled) await page.getByText('The pictures and their words were deleted.').waitFor()
    else await page.getByRole('button', { name: 'Delete for good' }).click()
    visitor.assertQuiet()
  }
})

test("a format brings its background, fill, shadow and file, and a choice of one's own counts more", async () => {
  await using visitor = await here.visit()
  const { page } = visitor
  await page.fill('#prompt', 'a pear')
  assert.equal(await page.locator('#finish_fill').isVisible(), false)
  await choose(page, 'finish_preset', 'amazon_main')
  assert.equal(await chosenOf(page, 'background'), 'pure')
  assert.equal(await chosenOf(page, 'format'), 'jpeg')
  await page.getByText('Drawn at 256 × 256, delivered at 1600 × 1600.').waitFor()
  await choose(page, 'finish_shadow', 'contact')
  await choose(page, 'light', 'Side')
  await choose(page, 'many', '2')
  await page.click('.shutter')
  await page.locator('article.is-queued').waitFor()
  const { request } = here.studio.newest
  assert.equal(request?.prompt, 'two pears, hard side light, on a white background')
  assert.equal(request?.format, 'jpeg')
  const { preset, background, fill, width, shadow } = request?.finish ?? {}
  assert.deepEqual([preset, background, fill, width, shadow], ['amazon_main', '#ffffff', 87, 1600, 'contact'])

  here.studio.finish()
  await page.fill('#prompt', '')
  await choose(page, 'background', 'wood')
  await page.getByRole('link', { name: 'Copy settings' }).click()
  const shown = ['background', 'light', 'finish_preset', 'finish_shadow', 'format']
  const chosen = await Promise.all(shown.map((name) => chosenOf(page, name)))
  assert.deepEqual(chosen, ['pure', 'Side', 'amazon_main', 'contact', 'jpeg'])
  assert.equal(await page.inputValue('#prompt'), 'two pears')

  // a scene is drawn, whatever the format says, and transparency needs a file that holds it
  await choose(page, 'background', 'wood')
  await page.click('.shutter')
  await page.locator('article.job').nth(1).waitFor({ state: 'attached' })
  assert.equal(here.studio.newest.request?.finish?.background, 'as_made')
  await choose(page, 'background', 'transparent')
  assert.equal(await chosenOf(page, 'format'), 'png')
  visitor.assertQuiet()
})

test('what draws larger, sooner or again has fields where its files are there, and they come back with the settings', async () => {
  const recipe = { sampler: 'ddim', schedule: 'leading', steps: 4, guidance_scale: 1, order: 1 }
  here.studio.more = {
    loras: [{ name: 'hyper', family: 'sd1', paces: { quick: recipe } }],
    upscalers: [{ name: 'sharp', family: 'any', enlarges: { scale: 2, units: 1 } }],
    tiny_vaes: [{ name: 'taesd', family: 'sd1' }],
  }
  for (const javaScriptEnabled of [true, false]) {
    await using visitor = await here.visit({ javaScriptEnabled })
    const { page } = visitor
    await page.fill('#prompt', 'a pear')
    await choose(page, 'pace', 'quick')
    await page.click('.more summary')
    if (javaScriptEnabled) {
      assert.deepEqual([await page.inputValue('#steps'), await page.inputValue('#sampler')], ['4', 'ddim'])
      assert.equal(await page.locator('#hires_upscaler').isVisible(), false)
    }
    await page.fill('#hires_scale', '2')
    await page.selectOption('#hires_upscaler', 'sharp')
    await page.selectOption('#decoder', 'taesd')
    await page.selectOption('#gate_tries', '3')
    await page.fill('#finish_max_bytes', '1.5 MB')
    await choose(page, 'format', 'jpeg')
    await page.click('.shutter')
    await page.locator('article.is-queued').waitFor()
    const { steps, sampler, guidance_scale, pace, loras, hires, decoder, gate, finish } =
      here.studio.newest.request ?? {}
    assert.deepEqual(
      [steps, sampler, guidance_scale, pace, loras?.[0]?.name],
      [4, 'ddim', 1, 'quick', 'hyper'],
    )
    assert.deepEqual([hires?.width, hires?.upscaler, decoder, gate?.tries], [512, 'sharp', 'taesd', 3])
    assert.deepEqual([finish?.max_bytes, finish?.background, finish?.fill], [1_500_000, 'as_made', undefined])
    here.studio.finish()
    await page.locator('article.is-succeeded').waitFor()
    await page.getByRole('link', { name: 'Copy settings' }).click()
    for (const [field, value] of Object.entries({
      '#hires_scale': '2',
      '#hires_upscaler': 'sharp',
      '#decoder': 'taesd',
      '#gate_tries': '3',
      '#finish_max_bytes': '1.5 MB',
    }))
      assert.equal(await page.inputValue(field), value, field)
    assert.equal(await chosenOf(page, 'pace'), 'quick')
    if (javaScriptEnabled) {
      await choose(page, 'pace', '')
      assert.deepEqual(
        [await page.inputValue('#steps'), await page.inputValue('#sampler')],
        ['20', 'dpmpp_2m'],
      )
    }
    visitor.assertQuiet()
  }
})

test('a picture made from a photo is compared with it, by keyboard too; a photo that is gone is said to be', async () => {
  await using visitor = await here.visit()
  const { page } = visitor
  const { id } = await here.studio.upload(ballPng(64, 64), {
    type: 'image/png',
    caller: anonymousCaller('::1'),
  })
  await page.goto(`${here.url}/?prompt=a+pear&init_image=${id}`)
  await page.click('.shutter')
  await page.locator('article.is-queued').waitFor()
  here.studio.finish()
  const button = page
    .locator('article.is-current.is-succeeded')
    .getByRole('button', { name: 'Before and after' })
  await button.press('Enter')
  const slider = page.getByRole('slider', { name: 'How much of the photo is shown' })
  assert.equal(await slider.evaluate((element) => element.matches(':focus')), true)
  const shown = page.locator('.compare-photo > svg')
  assert.equal(await shown.getAttribute('width'), '128')
  await slider.press('Home')
  assert.equal(await shown.getAttribute('width'), '0')
  assert.equal(await titleOnStage(page), 'a pear')
  await button.press('Enter')
  assert.equal(await slider.count(), 0)
  await page.route('**/v1/uploads/**', (route) => route.fulfill({ status: 410 }))
  await page.goto(here.url)
  await page.getByRole('button', { name: 'Before and after' }).click()
  await page.getByRole('button', { name: 'The photo has expired' }).waitFor()
  visitor.assertQuiet()
})

test('a finished picture is compared as it was drawn, whatever its shape; where the product was placed anew the photo is shown whole', async () => {
  await using visitor = await here.visit()
  const { page } = visitor
  const { id } = await here.studio.upload(ballPng(64, 64), {
    type: 'image/png',
    caller: anonymousCaller('::1'),
  })
  for (const [query, name, viewBox, shown] of [
    ['finish_preset=portrait', 'Before and after', '0 0 256 256', 2],
    ['finish_preset=story', 'Before and after', '0 0 256 256', 2],
    ['finish_preset=portrait&keep=product', 'Its photo', undefined, 1],
  ] as const) {
    await page.goto(`${here.url}/?prompt=a+pear&init_image=${id}&${query}`)
    await page.click('.shutter')
    // not the newest: the page looks for the product of a photo with a job of its own, now or a moment later
    const sent = page.locator('article.is-queued.is-current')
    here.studio.finish((await sent.getAttribute('data-job')) ?? '')
    const button = page.locator('article.is-current.is-succeeded').getByRole('button', { name })
    await button.press('Enter')
    const overlay = page.locator('.compare-photo')
    if (viewBox !== undefined) assert.equal(await overlay.getAttribute('viewBox'), viewBox, query)
    assert.equal(await overlay.locator('image').count(), shown, query)
    assert.equal(await page.locator('.compare-slider').count(), shown - 1, query)
    await button.press('Enter')
    assert.equal(await overlay.count(), 0)
  }
  visitor.assertQuiet()
})

test('the studio holds at 320 pixels, at twice its size, from right to left and in forced colours', async () => {
  for (const options of [
    { viewport: { width: 320, height: 640 } },
    { viewport: { width: 720, height: 450 } },
    { viewport: { width: 1440, height: 900 }, forcedColors: 'active' as const },
  ]) {
    await using visitor = await here.visit(options)
    const { page } = visitor
    await page.evaluate(`document.documentElement.dir = 'rtl'`)
    await take(page, 'a pear')
    await page.click('.more summary')
    assert.equal(await overflows(page), false, JSON.stringify(options))
    const shutter = await page.locator('.shutter').boundingBox()
    assert.ok((shutter?.y ?? 0) + (shutter?.height ?? 0) <= options.viewport.height)
    visitor.assertQuiet()
  }
})
