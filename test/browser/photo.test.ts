import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Page } from 'playwright-core'
import sharp from 'sharp'
import { openPage } from './open-page.ts'
import { overflows, tabTo, widthOf } from './visit.ts'

const here = openPage()

const phone = { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true }

async function photoFile(width: number, height: number) {
  const create = { width, height, channels: 3 as const, background: '#c9b28a' }
  return { name: 'photo.jpg', mimeType: 'image/jpeg', buffer: await sharp({ create }).jpeg().toBuffer() }
}

/** Answers as the service does when it has cut out a product: the left half of the photo. */
async function findProducts(page: Page): Promise<{ readonly asked: Record<string, unknown>[] }> {
  const asked: Record<string, unknown>[] = []
  const half = { create: { width: 40, height: 80, channels: 4 as const, background: '#c33' } }
  const found = await sharp({ create: { width: 80, height: 80, channels: 4, background: '#0000' } })
    .composite([{ input: half, left: 0, top: 0 }])
    .png()
    .toBuffer()
  await page.route(/\/v1\/jobs($|\/found)/, (route) => {
    const request = route.request()
    if (request.method() === 'DELETE') return route.fulfill({ status: 204 })
    if (request.method() === 'GET') return route.fulfill({ contentType: 'image/png', body: found })
    asked.push(request.postDataJSON())
    const job = { id: 'found', status: 'succeeded', images: [{ url: '/v1/jobs/found/images/0' }] }
    return route.fulfill({ status: 200, json: job })
  })
  return { asked }
}

/** A photo of which everything may change, or one whose product is kept. */
async function choosePhoto(page: Page, width = 300, height = 400, keep = false): Promise<void> {
  await findProducts(page)
  await page.setInputFiles('#photo-file', await photoFile(width, height))
  await page.locator('.photo-note, .photo-status').getByText('The product was found').waitFor()
  if (keep) return
  await page.getByLabel('Keep the product').uncheck()
  await page.getByText('Without paint the whole photo changes').waitFor()
}

async function paintAcross(page: Page): Promise<void> {
  await page.getByRole('button', { name: 'Brush', pressed: false }).click()
  const mask = page.locator('.photo-mask')
  await mask.scrollIntoViewIfNeeded()
  const { x, y, width, height } = (await mask.boundingBox()) ?? { x: 0, y: 0, width: 0, height: 0 }
  await page.mouse.move(x + width * 0.1, y + height / 2)
  await page.mouse.down()
  await page.mouse.move(x + width * 0.9, y + height / 2, { steps: 5 })
  await page.mouse.up()
}

async function send(page: Page): Promise<void> {
  await page.fill('#prompt', 'a blue vase')
  await page.locator('.shutter').click()
  await page.locator('article.is-queued').waitFor()
}

/** Of the mask that the newest request names, at a place in parts of its sides. */
async function maskAt(...places: (readonly [number, number])[]): Promise<(number | undefined)[]> {
  const mask = here.studio.uploads.get(here.studio.newest.request?.mask ?? '')
  const { data, info } = await sharp(mask).raw().toBuffer({ resolveWithObject: true })
  return places.map(
    ([across, down]) =>
      data[(Math.floor(info.height * down) * info.width + Math.floor(info.width * across)) * info.channels],
  )
}

test('a photo goes in, the size follows its shape, and what is painted is the mask', async () => {
  for (const options of [{}, phone]) {
    await using visitor = await here.visit(options)
    const { page } = visitor
    await choosePhoto(page, 1200, 1600)
    assert.equal(await page.inputValue('#size'), '192x256')
    await paintAcross(page)
    assert.equal(await overflows(page), false)
    await page.locator('#strength').fill('0.5')
    assert.equal(await page.locator('output[for=strength]').textContent(), '50 %')
    await send(page)
    const { init_image = '', strength, keep } = here.studio.newest.request ?? {}
    assert.deepEqual([strength, keep], [0.5, undefined])
    const kept = await sharp(here.studio.uploads.get(init_image)).metadata()
    assert.deepEqual([kept.width, kept.height], [443, 591])
    assert.deepEqual(await maskAt([0.5, 0.5], [0.5, 0.05], [0.5, 0.95]), [255, 0, 0])
    visitor.assertQuiet()
  }
})

test('a recipe brings its photo and paint back, and sends no mask anew', async () => {
  await using visitor = await here.visit()
  const { page } = visitor
  await choosePhoto(page)
  await paintAcross(page)
  await send(page)
  const first = here.studio.newest.request
  here.studio.finish()
  await page.getByRole('button', { name: 'Remove the photo' }).click()
  assert.equal(await page.inputValue('#init_image'), '')
  assert.equal(await page.locator('#photo-file').evaluate((input) => input.matches(':focus')), true)
  await page.getByRole('link', { name: 'Copy settings' }).click()
  await page.locator('#photo-stage [data-photo="clear"]:enabled').waitFor()
  await page.keyboard.press('Enter')
  await page.locator('article.is-queued').waitFor()
  // another seed, unless it was locked
  assert.deepEqual({ ...here.studio.newest.request, seed: first?.seed }, first)
  assert.equal(here.studio.uploads.size, 2)
})

test('cleared paint is no mask, and a removed photo none', async () => {
  await using visitor = await here.visit()
  const { page } = visitor
  await choosePhoto(page)
  await paintAcross(page)
  await page.getByRole('button', { name: 'Clear', exact: true }).click()
  await send(page)
  assert.equal(here.studio.newest.request?.mask, undefined)
  assert.notEqual(here.studio.newest.request?.init_image, undefined)
  here.studio.finish()
  await page.locator('article.is-succeeded').waitFor()
  await page.getByRole('button', { name: 'Remove the photo' }).click()
  await send(page)
  assert.equal(here.studio.newest.request?.init_image, undefined)
})

test('a mask can come from a file, with the keyboard alone', async () => {
  await using visitor = await here.visit()
  const { page } = visitor
  await page.locator('[name=source][value=photo]').check({ force: true })
  await tabTo(page, '#photo-file')
  await choosePhoto(page, 200, 200)
  await tabTo(page, '#mask-file')
  const half = await sharp({ create: { width: 100, height: 100, channels: 3, background: 'black' } })
    .composite([
      { input: { create: { width: 50, height: 100, channels: 3, background: 'white' } }, left: 0, top: 0 },
    ])
    .png()
    .toBuffer()
  await page.setInputFiles('#mask-file', { name: 'mask.png', mimeType: 'image/png', buffer: half })
  await page.getByText('The mask is shown on the photo').waitFor()
  await send(page)
  assert.deepEqual(await maskAt([0.05, 0.5], [0.95, 0.5]), [255, 0])
  const wrong = await photoFile(300, 100)
  await page.setInputFiles('#mask-file', wrong)
  await page.getByText('must have the shape of the photo').waitFor()
  visitor.assertQuiet()
})

test('what is no picture, and a photo that the server does not take, are named', async () => {
  await using visitor = await here.visit()
  const { page } = visitor
  await page.setInputFiles('#photo-file', { name: 'a.png', mimeType: 'image/png', buffer: Buffer.from('x') })
  await page.getByText('This file cannot be read as a picture.').waitFor()
  await page.route('**/v1/uploads', (route) =>
    route.fulfill({ status: 507, json: { error: { code: 'storage_full', message: 'There is no room.' } } }),
  )
  await page.setInputFiles('#photo-file', await photoFile(30, 30))
  await page.getByText('There is no room.').waitFor()
  assert.equal(await page.inputValue('#init_image'), '')
  await page.unroute('**/v1/uploads')
  await choosePhoto(page, 60, 30)
})

test('a form that is sent at once waits for its photo', async () => {
  await using visitor = await here.visit()
  const { page } = visitor
  const gate = Promise.withResolvers<void>()
  await page.route('**/v1/uploads', async (route) => {
    await gate.promise
    await route.continue()
  })
  await findProducts(page)
  await page.fill('#prompt', 'a vase')
  await page.setInputFiles('#photo-file', await photoFile(64, 64))
  await page.getByText('Sending the photo').waitFor()
  await page.locator('.shutter').click()
  await page.getByText('Sending…').waitFor()
  assert.equal(here.studio.submitted, 0)
  gate.resolve()
  await page.locator('article.is-queued').waitFor()
  assert.notEqual(here.studio.newest.request?.init_image, undefined)
  assert.equal(here.studio.submitted, 1)
})

test('a kept product is found by itself, corrected by brush, eraser and keys, and only then sent as a mask', async () => {
  await using visitor = await here.visit()
  const { page } = visitor
  const finder = await findProducts(page)
  await page.setInputFiles('#photo-file', await photoFile(300, 300))
  await page.locator('.photo-note, .photo-status').getByText('The product was found').waitFor()
  const [job] = finder.asked
  assert.deepEqual(
    [job?.keep, job?.strength, job?.init_image],
    ['product', 0, await page.inputValue('#init_image')],
  )
  assert.equal(await page.locator('.photo-strength').isVisible(), false)
  await send(page)
  const first = here.studio.newest.request
  assert.deepEqual([first?.keep, first?.mask, first?.strength], ['product', undefined, 1])
  here.studio.finish()
  await page.locator('article.is-succeeded').waitFor()

  await page.getByRole('button', { name: 'Show the photo' }).click()
  // the right half is hatched: paint in the left, and take some away on the right
  await paintAcross(page)
  await page.getByRole('button', { name: 'Undo', exact: true }).click()
  await page.getByRole('button', { name: 'Redo', exact: true }).click()
  await page.locator('.photo-mask').focus()
  await page.keyboard.press('e')
  for (let i = 0; i < 3; i += 1) await page.keyboard.press('Shift+ArrowRight')
  for (let i = 0; i < 3; i += 1) await page.keyboard.press('Shift+ArrowUp')
  await page.keyboard.press('Space')
  await page.getByText('The eraser is down').waitFor()
  await page.keyboard.press('ArrowUp')
  await page.keyboard.press('Space')
  await send(page)
  assert.deepEqual(await maskAt([0.2, 0.5], [0.2, 0.1], [0.97, 0.97]), [255, 0, 255])
  const mask = here.studio.uploads.get(here.studio.newest.request?.mask ?? '')
  const { data, info } = await sharp(mask).raw().toBuffer({ resolveWithObject: true })
  const right = Array.from({ length: info.width * info.height }, (_, i) => i).filter(
    (i) => i % info.width > info.width * 0.55 && data[i * info.channels] === 0,
  )
  assert.ok(right.length > 20, 'the eraser kept a part of the right half')

  here.studio.finish()
  await page.locator('article.is-queued').waitFor({ state: 'detached' })
  await page.getByRole('button', { name: 'Show the photo' }).click()
  await page.getByRole('button', { name: 'Invert' }).click()
  await page.getByRole('button', { name: 'Larger (+)' }).click()
  await page.locator('#brush').fill('80')
  await send(page)
  assert.deepEqual(await maskAt([0.2, 0.5], [0.2, 0.1], [0.97, 0.97]), [0, 255, 0])
  assert.equal(finder.asked.length, 1)
  visitor.assertQuiet()
})

test('a photo can be dropped or pasted anywhere; nothing found is said beside the photo', async () => {
  await using visitor = await here.visit()
  const { page } = visitor
  await page.route(/\/v1\/jobs$/, (route) =>
    route.fulfill({
      json: {
        id: 'x',
        status: 'failed',
        images: [],
        error: { code: 'invalid_upload', message: 'No product was found.' },
      },
    }),
  )
  const { buffer } = await photoFile(40, 40)
  const give = (event: string, field: string) =>
    page.evaluate(`{
      const bytes = Uint8Array.from(atob('${buffer.toString('base64')}'), (each) => each.charCodeAt(0))
      const data = new DataTransfer()
      data.items.add(new File([bytes], 'a.jpg', { type: 'image/jpeg' }))
      const options = { bubbles: true, cancelable: true, ${field}: data }
      document.querySelector('main').dispatchEvent(new ${event}(options.dataTransfer ? 'drop' : 'paste', options))
    }`)
  for (const [event, field] of [
    ['DragEvent', 'dataTransfer'],
    ['ClipboardEvent', 'clipboardData'],
  ] as const) {
    await give(event, field)
    await page.locator('.is-fault').getByText('No product was found.').waitFor()
    assert.notEqual(await page.inputValue('#init_image'), '')
    await page.getByRole('button', { name: 'Remove the photo' }).click()
  }
  // another script looks at the file first
  await page.evaluate(`document.addEventListener('photo:given', (event) => event.preventDefault())`)
  await give('DragEvent', 'dataTransfer')
  assert.equal(await page.locator('#photo-stage').isVisible(), false)
})

test('without JavaScript a photo is posted with the form, and its product kept', async () => {
  await using visitor = await here.visit({ javaScriptEnabled: false })
  const { page } = visitor
  await page.fill('#prompt', 'a vase')
  await page.getByRole('button', { name: 'Use this photo' }).click()
  await page.locator('#init_image-error').getByText('Choose a file first').waitFor()
  await page.setInputFiles('#photo-posted', await photoFile(120, 80))
  await page.getByRole('button', { name: 'Use this photo' }).click()
  assert.equal(await widthOf(page.locator('.photo-shown')), 120)
  await page.getByLabel('Keep the product').check()
  await page.click('.shutter')
  await page.waitForURL(/\/jobs\/[\w-]+$/)
  const { keep, strength, prompt, init_image } = here.studio.newest.request ?? {}
  assert.deepEqual([keep, strength, prompt], ['product', 1, 'a vase'])
  assert.ok(here.studio.uploads.has(init_image ?? ''))
  visitor.assertQuiet()
})

test('a photo that is gone is said beside it', async () => {
  await using visitor = await here.visit()
  const { page } = visitor
  await choosePhoto(page)
  here.studio.uploads.clear()
  await page.fill('#prompt', 'a vase')
  await page.locator('.shutter').click()
  await page.locator('#init_image-error').getByText('was deleted').waitFor()
  assert.equal(await page.inputValue('#prompt'), 'a vase')
})

test('schedules follow the sampler, and names are put into fields at a press', async () => {
  await using visitor = await here.visit()
  const { page } = visitor
  await page.click('.more summary')
  await page.selectOption('#schedule', 'karras')
  await page.selectOption('#sampler', 'ddim')
  assert.equal(await page.inputValue('#schedule'), '')
  assert.equal(await page.locator('#schedule option[value=karras]').isDisabled(), true)
  await page.selectOption('#lora-add', 'detail')
  await page.selectOption('#lora-add', 'soft light')
  assert.equal(await page.inputValue('#loras'), 'detail, soft light')
  await page.getByLabel('Strength of detail').fill('0.55')
  await page.getByLabel('Strength of detail').press('ArrowLeft')
  assert.equal(await page.inputValue('#loras'), 'detail:0.5, soft light')
  await page.getByRole('button', { name: 'Remove soft light' }).click()
  await page.getByRole('button', { name: 'EasyNegative' }).click()
  await page.selectOption('#vae', 'sharp-vae')
  await page.fill('#clip_skip', '2')
  await send(page)
  const { sampler, schedule, loras, negative_prompt, vae, clip_skip } = here.studio.newest.request ?? {}
  assert.deepEqual(
    [sampler, schedule, loras, negative_prompt, vae, clip_skip],
    ['ddim', 'leading', [{ name: 'detail', strength: 0.5 }], 'EasyNegative', 'sharp-vae', 2],
  )
  here.studio.finish()
  await page.getByRole('link', { name: 'Copy settings' }).click()
  assert.equal(await page.inputValue('#loras'), 'detail:0.5')
  visitor.assertQuiet()
})

/** A picture of one colour on the left and another on the right: small as a file, however many pixels it has. */
async function twoColours(width: number, height: number) {
  const half = { width: Math.floor(width / 2), height, channels: 3 as const, background: '#2040c0' }
  return sharp({ create: { width, height, channels: 3, background: '#c04020' }, limitInputPixels: false })
    .composite([{ input: { create: half }, left: 0, top: 0 }])
    .toColourspace('srgb')
}

test('photos as phones and cameras make them are sent: other formats, many megapixels, sideways, panoramas', async () => {
  await using visitor = await here.visit()
  const { page } = visitor
  await findProducts(page)
  const { kept: most } = here.studio.uploadLimits
  const photos: [string, string, Buffer, number][] = [
    ['anim.gif', 'image/gif', await (await twoColours(300, 200)).gif().toBuffer(), 1.5],
    ['new.avif', 'image/avif', await (await twoColours(300, 200)).avif({ effort: 0 }).toBuffer(), 1.5],
    ['27mp.jpg', 'image/jpeg', await (await twoColours(6000, 4500)).jpeg().toBuffer(), 4 / 3],
    ['48mp.jpg', 'image/jpeg', await (await twoColours(8000, 6000)).jpeg().toBuffer(), 4 / 3],
    ['pano.jpg', 'image/jpeg', await (await twoColours(16_000, 2200)).jpeg().toBuffer(), 80 / 11],
    ['12mp.png', 'image/png', await (await twoColours(4000, 3000)).png().toBuffer(), 4 / 3],
    [
      'side.jpg',
      'image/jpeg',
      await (await twoColours(3000, 2000)).withMetadata({ orientation: 6 }).jpeg().toBuffer(),
      2 / 3,
    ],
  ]
  for (const [name, mimeType, buffer, shape] of photos) {
    await page.setInputFiles('#photo-file', { name, mimeType, buffer })
    const said = page.locator('.photo-note, .photo-status')
    await said.getByText(/The product was found|rror|annot|must/).waitFor()
    assert.match((await said.allTextContents()).join(''), /The product was found/, name)
    const kept = sharp(here.studio.uploads.get(await page.inputValue('#init_image')))
    const { width = 0, height = 0 } = await kept.metadata()
    assert.ok(Math.abs(width / height / shape - 1) < 0.02, `${name} is ${width} × ${height}`)
    assert.ok(width * height <= most, `${name} is ${width} × ${height}`)
    await page.getByRole('button', { name: 'Remove the photo' }).click()
  }
  const strip = await (await twoColours(16_000, 500)).jpeg().toBuffer()
  await page.setInputFiles('#photo-file', { name: 'strip.jpg', mimeType: 'image/jpeg', buffer: strip })
  await page.locator('.photo-status').getByText('at most 8 times as long as the other').waitFor()
})

test('a photo that this browser cannot decode is called what it is', async () => {
  await using visitor = await here.visit()
  const { page } = visitor
  const bytes = (text: string) => Buffer.concat([Buffer.from(text, 'latin1'), Buffer.alloc(64)])
  const refused: [string, string, Buffer, string][] = [
    ['IMG_1.HEIC', '', bytes('\0\0\0\x18ftypheic'), 'cannot read HEIC photos'],
    ['IMG_2.jpg', 'image/jpeg', bytes('\0\0\0\x18ftypmif1'), 'cannot read HEIC photos'],
    ['raw.dng', 'image/x-adobe-dng', bytes('II*\0'), 'cannot read TIFF or raw photos'],
    ['empty.jpg', 'image/jpeg', Buffer.alloc(0), 'This file is empty'],
    ['cut.jpg', 'image/jpeg', bytes('\xff\xd8\xff\xe0'), 'damaged, or too large'],
  ]
  for (const [name, mimeType, buffer, sentence] of refused) {
    await page.setInputFiles('#photo-file', { name, mimeType, buffer })
    await page.locator('.photo-status.is-fault').getByText(sentence).waitFor()
    assert.equal(await page.inputValue('#init_image'), '')
  }
  visitor.assertQuiet()
})

test('what was pressed answers within the window: a photo, one that is refused, a server that is away', async () => {
  for (const options of [{}, phone]) {
    await using visitor = await here.visit({ ...options, reducedMotion: 'reduce' })
    const { page } = visitor
    const inWindow = async (selector: string) => {
      const { y = 0, height = 0 } = (await page.locator(selector).boundingBox()) ?? {}
      const shutter = (await page.locator('.shutter').boundingBox())?.y ?? 0
      const free = ['.panel-foot [role=alert]', '.photo-stage'].includes(selector)
        ? (page.viewportSize()?.height ?? 0)
        : shutter
      return y >= 0 && y + Math.min(height, 80) <= free
    }
    await choosePhoto(page, 300, 400, true)
    assert.ok(await inWindow('.photo-stage'))
    await page.evaluate('scrollTo(0, 0)')
    await page.setInputFiles('#photo-file', { name: 'a', mimeType: 'image/png', buffer: Buffer.from('x') })
    await page.locator('.photo-status.is-fault').waitFor()
    assert.ok(await inWindow('.photo-status'))
    await page.click('.more summary')
    await page.fill('#prompt', 'a vase')
    await page.locator('#clip_skip').scrollIntoViewIfNeeded()
    await page.route('**/jobs', (route) => route.abort())
    await page.click('.shutter')
    await page.getByRole('alert').waitFor()
    assert.ok(await inWindow('.panel-foot [role=alert]'))
  }
})
