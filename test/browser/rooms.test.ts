import assert from 'node:assert/strict'
import { mkdirSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { Page } from 'playwright-core'
import sharp from 'sharp'
import { encodePng } from '../../src/diffusion/output/png.ts'
import { anonymousCaller } from '../../src/jobs/caller.ts'
import { AppError } from '../../src/jobs/errors.ts'
import { lastFirst } from '../cleanup.ts'
import { quickGenerator, runDeps, workUntil } from '../jobs/embedded.ts'
import { keyed } from '../jobs/keyed.ts'
import { openPage } from './open-page.ts'
import { ballPng } from './png.ts'
import { misplaced, overflows, send, visit } from './visit.ts'

/** The rooms in a browser: every state of every page without a violation that axe-core finds, and what needs scripts. */

/** As files are called: long, and without a space. */
const longName = 'epicphotogasm_ultimateFidelity_withoutVAE-v10.fp16'

const here = openPage((studio) => {
  const [model] = studio.offer().models
  if (model) studio.otherModels = [{ ...model, name: longName }]
})
const axe = fileURLToPath(import.meta.resolve('axe-core/axe.min.js'))
const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']
const everything = `{ type: 'tag', values: ${JSON.stringify(tags)} }`
/** Of the same elements by night only the colours differ. */
const colours = `{ type: 'rule', values: ['color-contrast', 'link-in-text-block'] }`
const [desk, phone, narrow] = [
  { width: 1440, height: 900 },
  { width: 390, height: 844 },
  // what must do without scrolling sideways: WCAG 2.2, 1.4.10
  { width: 320, height: 568 },
]
/** Each state is seen in all of these, one after another in one page; it goes on in the last. */
const looks = [
  { name: 'phone-dark', colorScheme: 'dark', size: phone, rules: colours },
  { name: 'phone-light', colorScheme: 'light', size: phone, rules: everything },
  { name: 'desk-dark', colorScheme: 'dark', size: desk, rules: colours },
  { name: 'desk-light', colorScheme: 'light', size: desk, rules: everything },
] as const

/** Where screenshots go, to be looked at; absent: none are taken. */
const { TEST_SCREENSHOTS: shots } = process.env

/** The script is evaluated by the browser's own protocol: the page's policy lets no script in. */
async function violationsOf(page: Page, rules: string): Promise<string[]> {
  if ((await page.evaluate('typeof axe')) === 'undefined') await page.evaluate(await readFile(axe, 'utf8'))
  const run = `axe.run(document, { runOnly: ${rules}, resultTypes: ['violations'] })
    .then(({ violations }) => violations.map(({ id, nodes }) => id + ': ' + nodes.map(({ html }) => html.slice(0, 160)).join(' | ')))`
  return (await page.evaluate(run)) as string[]
}

async function layoutFaults(page: Page): Promise<string[]> {
  return [...(await misplaced(page)), ...((await overflows(page)) ? ['scrolls sideways'] : [])]
}

/** Collects what is wrong in each state that it is called for. */
function inspection(page: Page) {
  const found: string[] = []
  if (shots !== undefined) mkdirSync(shots, { recursive: true })
  return {
    async at(state: string, path?: string) {
      if (path !== undefined) await page.goto(path)
      // colours would change gradually; the policy allows no style of ours, a sheet of the page takes a rule
      await page.evaluate("document.styleSheets[0].insertRule('* { transition: none !important }')")
      await page.setViewportSize(narrow)
      found.push(...(await layoutFaults(page)).map((each) => `narrow ${state}: ${each}`))
      for (const { name, colorScheme, size, rules } of looks) {
        await page.emulateMedia({ colorScheme })
        await page.setViewportSize(size)
        const what = `${name} ${state}`
        const faults = [...(await violationsOf(page, rules)), ...(await layoutFaults(page))]
        found.push(...faults.map((each) => `${what}: ${each}`))
        if (shots !== undefined) await page.screenshot({ path: `${shots}/${state}-${name}.png` })
      }
    },
    assertClean: () => assert.deepEqual(found, []),
  }
}

test('no state of the studio, of pictures and of models has a violation, light or dark, on a desk or a phone', async () => {
  await using visitor = await here.visit({ viewport: desk })
  const { page } = visitor
  const { at, assertClean } = inspection(page)
  await at('studio-empty')
  await at('pictures-empty', `${here.url}/pictures`)
  await page.goto(here.url)
  await send(page, 'a red apple')
  await at('queued')
  here.studio.move({ status: 'running', progress: { step: 3, steps: 20 } })
  await page.locator('article.is-running').waitFor()
  await at('running')
  here.studio.finish()
  await page.locator('article.is-succeeded').waitFor()
  await page.locator('.api-call summary').click()
  await at('done')
  const done = here.studio.newest.id
  await send(page, 'a bottle')
  const message = 'The LoRA glossy was made for another model.'
  here.studio.move({ status: 'failed', error: { code: 'model_invalid', message } })
  await page.locator('article.is-failed').waitFor()
  await at('failed')
  await send(page, 'a pear')
  await page.locator('.is-current').getByRole('button', { name: 'Cancel' }).click()
  await page.locator('article.is-canceled.is-current').waitFor()
  await at('canceled')
  await at('pictures', `${here.url}/pictures`)
  await page.locator('.tile-like').first().click()
  await page.locator('.tile-like[aria-pressed="true"]').first().waitFor()
  await page.locator('.tile [type=checkbox]').first().check()
  await at('pictures-chosen')
  await page.getByRole('button', { name: 'Delete' }).click()
  await at('delete-question')
  await at('models', `${here.url}/models`)
  await at('job', `${here.url}/jobs/${done}`)
  await at('not-found', `${here.url}/nothing`)
  await page.goto(here.url)
  await page.locator('.save-look summary').click()
  await page.fill('#prompt', 'a pear')
  await page.fill('#look_name', longName)
  await page.press('#look_name', 'Enter')
  await page.locator('.looks a').waitFor()
  await at('looks')
  await send(page, 'a lemon')
  await page.route('**/card', (route) => route.abort())
  await page.locator('.away').waitFor()
  await at('server-away')
  await page.unroute('**/card')
  here.studio.view = () => Promise.reject(new AppError('expired', 'gone'))
  await page.reload()
  await page.locator('.is-gone').first().waitFor()
  await at('expired')
  await at('pictures-expired', `${here.url}/pictures`)
  assertClean()
})

test('a photo that was chosen, and one that is painted on, have none', async () => {
  await using visitor = await here.visit({ viewport: desk })
  const { page } = visitor
  const { at, assertClean } = inspection(page)
  const found = ballPng(80, 80)
  // the product is found by a job of the page's own
  await page.route(/\/v1\/jobs($|\/found)/, (route) => {
    const method = route.request().method()
    if (method === 'DELETE') return route.fulfill({ status: 204 })
    if (method === 'GET') return route.fulfill({ contentType: 'image/png', body: Buffer.from(found) })
    const json = { id: 'found', status: 'succeeded', images: [{ url: '/v1/jobs/found/images/0' }] }
    return route.fulfill({ status: 200, json })
  })
  const create = { width: 300, height: 400, channels: 3 as const, background: '#c9b28a' }
  const buffer = await sharp({ create }).jpeg().toBuffer()
  await page.setInputFiles('#photo-file', { name: 'photo.jpg', mimeType: 'image/jpeg', buffer })
  await page.locator('.photo-note, .photo-status').getByText('The product was found').waitFor()
  await at('photo-chosen')
  await page.getByLabel('Keep the product').uncheck()
  await page.getByRole('button', { name: 'Brush', pressed: false }).click()
  const { x, y, width, height } = (await page.locator('.photo-mask').boundingBox()) ?? {
    x: 0,
    y: 0,
    ...create,
  }
  await page.mouse.move(x + width * 0.2, y + height / 2)
  await page.mouse.down()
  await page.mouse.move(x + width * 0.8, y + height / 2, { steps: 3 })
  await page.mouse.up()
  await at('painting')
  assertClean()
  visitor.assertQuiet()
})

test('fine tuning, a picture beside its photo, finishing again and the link to another device have none', async () => {
  here.studio.more = {
    loras: [
      { name: 'detail', family: 'sd1' },
      { name: longName, family: 'sd1' },
    ],
    upscalers: [{ name: longName, family: 'any', enlarges: { scale: 2, units: 1 } }],
    tiny_vaes: [{ name: 'taesd', family: 'sd1' }],
  }
  await using visitor = await here.visit({ viewport: desk })
  const { page } = visitor
  const { at, assertClean } = inspection(page)
  const photo = { type: 'image/png', caller: anonymousCaller('::1') }
  const { id } = await here.studio.upload(ballPng(64, 64), photo)
  await page.goto(`${here.url}/?prompt=a+pear&init_image=${id}&loras=detail:0.5&finish_margin=5`)
  await page.selectOption('#lora-add', longName)
  await page.locator('#lora-rows li').nth(1).waitFor()
  await page.locator('#finish_margin').scrollIntoViewIfNeeded()
  await at('fine-tuning')
  await page.fill('#finish_margin', '5 5')
  await page.click('.shutter')
  await page.locator('#finish_margin-error').waitFor()
  await at('fine-tuning-fault')
  await page.fill('#finish_margin', '5 0 10 0')
  await page.click('.shutter')
  await page.locator('article.is-queued.is-current').waitFor()
  here.studio.finish()
  const card = page.locator('article.is-current.is-succeeded')
  await card.getByText('Finish again').click()
  await card.getByRole('button', { name: 'Finish it' }).waitFor()
  await at('finish-again')
  await card.getByText('Finish again').click()
  await card.getByRole('button', { name: 'Before and after' }).click()
  await page.getByRole('slider', { name: 'How much of the photo is shown' }).waitFor()
  await at('before-and-after')
  await at('device', `${here.url}/workspace/device`)
  const link = await page.inputValue('#device-link')
  await at('device-question', link)
  here.studio.now = () => new Date(Date.now() + 3_600_000)
  await at('device-over', link)
  await here.visit({ viewport: desk }).then(async (stranger) => {
    await using other = stranger
    const looking = inspection(other.page)
    await looking.at('device-nothing', `${here.url}/workspace/device`)
    looking.assertClean()
  })
  assertClean()
})

test('no state of signing in and of a catalogue run has a violation', async (t) => {
  const { app, parts, keyOf } = await keyed(t)
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  lastFirst(t).after(() => app.server.closeAllConnections())
  await using visitor = await visit(here.browser, `${url}/catalogues`, { viewport: desk })
  const { page } = visitor
  const { at, assertClean } = inspection(page)
  await page.fill('#key', 'pks_wrong')
  await page.keyboard.press('Enter')
  await page.waitForSelector('#key-error')
  await at('sign-in')
  await page.fill('#key', keyOf('ann'))
  await page.keyboard.press('Enter')
  await page.waitForSelector('#list')
  await page.locator('.list-fine summary').click()
  await at('catalogue-empty')
  await page.fill('#list', 'A-1; a red mug\nA-2; a vase\nA-3; broken')
  await page.locator('label:has([name="set:wood"])').click()
  await page.getByText('3 products × 2 sets = 6 pictures').waitFor()
  await page.fill('#file-name', '{set}')
  await page.click('.shutter')
  await page.getByRole('alert').waitFor()
  await at('catalogue-faults')
  await page.fill('#file-name', '{sku}_{set}')
  await page.click('.shutter')
  await page.waitForURL(/\/catalogues\/[0-9a-z]{42}$/)
  const id = page.url().split('/').at(-1) ?? ''
  await at('run-waiting')
  const feeder = parts.catalogues.start({ stepMs: 10, lookMs: 20, holdSeconds: 0.2 })
  const quick = quickGenerator((_step, prompt) => {
    if (prompt.includes('broken')) throw new AppError('model_invalid', 'The model cannot draw this.')
  })
  const generator: typeof quick = {
    ...quick,
    async *generate(...asked) {
      for await (const each of quick.generate(...asked))
        yield { ...each, bytes: ballPng(each.width, each.height) }
    },
  }
  const owner = { ...anonymousCaller('127.0.0.1'), name: 'ann' }
  await workUntil(parts, runDeps(parts, { generator }), async () => {
    const { status } = await parts.catalogues.view(id, owner)
    return status === 'finished'
  })
  await feeder.stop()
  await page.getByRole('button', { name: 'Retry 2 failed' }).waitFor()
  await page.locator('.run-line.is-failed').first().waitFor()
  await at('run-done')
  await at('catalogue-runs', `${url}/catalogues`)
  assertClean()
})

test('what is ticked in Pictures is kept for good, in a room of its own; no state of it has a violation', async (t) => {
  const { app, parts, keyOf } = await keyed(t)
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  lastFirst(t).after(() => app.server.closeAllConnections())
  await using visitor = await visit(here.browser, `${url}/pictures`, { viewport: desk })
  const { page } = visitor
  const { at, assertClean } = inspection(page)
  await page.fill('#key', keyOf('ann'))
  await page.keyboard.press('Enter')
  await page.getByText('Here is what you make').waitFor()
  await page.goto(`${url}/pictures/kept`)
  await page.getByText('Pictures stay here until you delete them').waitFor()
  await at('kept-empty')
  await page.goto(url)
  await send(page, 'a green pear')
  const quick = quickGenerator()
  const generator: typeof quick = {
    ...quick,
    async *generate(...asked) {
      for await (const each of quick.generate(...asked))
        yield { ...each, bytes: ballPng(each.width, each.height) }
    },
  }
  await workUntil(parts, runDeps(parts, { generator }), async () => (await parts.queue.depth()) === 0)
  await page.goto(`${url}/pictures`)
  await page.getByRole('checkbox', { name: 'Choose: a green pear' }).check()
  await page.getByRole('button', { name: 'Keep for good' }).click()
  await page.getByText('One picture kept for good.').waitFor()
  await page.getByText('1 of 3 pictures').waitFor()
  await at('pictures-kept')
  await page.getByRole('link', { name: 'Kept for good' }).click()
  await page.getByRole('img', { name: 'a green pear' }).waitFor()
  await at('kept')
  await page.getByRole('button', { name: 'Choose all' }).click()
  await page.getByRole('button', { name: 'Delete', exact: true }).click()
  await page.getByRole('heading', { name: 'Delete this picture that you kept?' }).waitFor()
  await at('kept-delete')
  await page.getByRole('button', { name: 'Delete', exact: true }).click()
  await page.getByText('One picture deleted.').waitFor()
  assertClean()
  visitor.assertQuiet()
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
