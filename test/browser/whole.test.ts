import assert from 'node:assert/strict'
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Browser } from 'playwright-core'
import sharp from 'sharp'
import type { JobView } from '../../src/jobs/serving/job-view.ts'
import { oneThread, ownOptions } from '../kit/own-environment.ts'
import { waitFor } from '../kit/waiting.ts'
import { startBrowser } from './chromium.ts'
import { choose, visit, widthOf } from './visit.ts'

/** The service as `npm start` runs it, with the built-in model, in a data folder of its own. */

const entry = fileURLToPath(new URL('../../src/main/all-in-one.ts', import.meta.url))
/** Only ends a test that would hang, on a slow machine. */
const patience = { timeout: 600_000 }
/** A browser that draws what moves takes half a core, which the engine wants. */
const still = { reducedMotion: 'reduce' } as const

let browser: Browser
let service: ChildProcess
let dataDir: string
let url: string

before(async () => {
  browser = await startBrowser()
  dataDir = await mkdtemp(join(tmpdir(), 'packshot-browser-'))
  const env = {
    ...process.env,
    ...oneThread,
    PORT: '0',
    PACKSHOT_HOST: '127.0.0.1',
    PACKSHOT_DATA_DIR: dataDir,
  }
  service = spawn(process.execPath, [...ownOptions(), entry], { env, stdio: ['ignore', 'pipe', 'inherit'] })
  url = await addressOf(service)
})

after(async () => {
  await browser?.close()
  if (service?.exitCode === null) {
    service.kill('SIGTERM')
    await once(service, 'exit')
  }
  if (dataDir !== undefined) await rm(dataDir, { recursive: true, force: true })
})

async function addressOf(started: ChildProcess): Promise<string> {
  const said: string[] = []
  const output = started.stdout
  if (output === null) throw new Error('the service has no output')
  for await (const line of createInterface({ input: output })) {
    said.push(line)
    const [, address] = /^Packshot is ready: (http:\S+)/.exec(line) ?? []
    if (address !== undefined) {
      output.resume()
      return address
    }
  }
  throw new Error(`the service did not start:\n${said.join('\n')}`)
}

test('someone types "a red apple" and sees a picture', async () => {
  await using visitor = await visit(browser, url, still)
  const { page } = visitor
  await page.fill('#prompt', 'a red apple')
  await page.keyboard.press('Enter')
  const card = page.locator('article.job')
  await card.waitFor()
  const image = card.getByRole('img', { name: 'a red apple' })
  await image.waitFor(patience)
  assert.equal(await widthOf(image), Number(await image.getAttribute('width')))

  const download = card.getByRole('link', { name: 'Download' })
  const [saved] = await Promise.all([page.waitForEvent('download'), download.click()])
  assert.match(saved.suggestedFilename(), /^a-red-apple-\d+\.png$/)
  const file = await readFile(await saved.path())
  assert.equal(file.subarray(1, 4).toString('latin1'), 'PNG')
  assert.match(file.toString('latin1'), /parameters\0a red apple/)

  await card.getByText('All settings').click()
  const seed = await card.locator('.seed-link').textContent()
  await card.locator('.seed-link').click()
  assert.equal(await page.inputValue('#seed'), seed)
  await page.keyboard.press('Enter')
  await page
    .locator('article.is-succeeded')
    .nth(1)
    .waitFor({ ...patience, state: 'attached' })
  const [again, first] = await page
    .locator('article.job img')
    .evaluateAll((images) => images.map((each) => each.src))
  const [a, b] = await Promise.all([again, first].map(async (src) => (await fetch(String(src))).bytes()))
  assert.deepEqual(a, b)
  visitor.assertQuiet()
})

test('someone drops a photo, its product is found and kept, and only its set is drawn', async () => {
  const headers = { 'content-type': 'application/json', prefer: 'wait=60' }
  const body = JSON.stringify({ prompt: 'an orange on a wooden table', seed: 7, format: 'jpeg' })
  const job = (await (
    await fetch(new URL('v1/jobs', url), { method: 'POST', headers, body })
  ).json()) as JobView
  const photo = await (await fetch(new URL(job.images[0]?.url ?? '', url))).arrayBuffer()

  await using visitor = await visit(browser, url, still)
  const { page } = visitor
  await page.locator('.segment', { hasText: 'From a photo' }).click()
  const file = { name: 'IMG_2034.jpg', mimeType: 'image/jpeg', buffer: Buffer.from(photo) }
  await page.setInputFiles('#photo-file', file)
  await page.locator('.photo-note, .photo-status').getByText('The product was found').waitFor(patience)
  await page.fill('#prompt', 'an orange on a marble table')
  await page.click('.shutter')
  const image = page.locator('article.is-succeeded').getByRole('img', { name: 'an orange on a marble table' })
  await image.waitFor(patience)
  const bytes = await (await fetch(new URL((await image.getAttribute('src')) ?? '', url))).bytes()
  const pixelOf = async (picture: Uint8Array, left: number, top: number) =>
    sharp(picture).extract({ left, top, width: 1, height: 1 }).removeAlpha().raw().toBuffer()
  const [kept, was] = [await pixelOf(bytes, 128, 128), await pixelOf(new Uint8Array(photo), 128, 128)]
  assert.ok(
    Math.max(...kept.map((value, i) => Math.abs(value - (was[i] ?? 0)))) <= 2,
    'the product is as it was',
  )
  // what was looked for is done, and deleted
  await page.reload()
  await page.getByText('0 running, 0 waiting').waitFor()
  visitor.assertQuiet()
})

test('four pictures come of one job, without JavaScript too', async () => {
  await using visitor = await visit(browser, url, { ...still, javaScriptEnabled: false })
  const { page } = visitor
  await page.fill('#prompt', 'a green wine bottle')
  await choose(page, 'count', '4')
  await page.click('.more summary')
  await page.fill('#steps', '2')
  await page.click('.shutter')
  await page.waitForURL(/\/jobs\//)
  await page.locator('article img').nth(3).waitFor(patience)
  const seeds = await page.locator('.picture-name').allTextContents()
  assert.equal(new Set(seeds).size, 4)
  visitor.assertQuiet()
})

/** The shell commands of README.md's first chapter that begin with these words, one line each. */
async function commandsOf(start: string): Promise<string[]> {
  const readme = await readFile(new URL('../../README.md', import.meta.url), 'utf8')
  const [, chapter = ''] = /## Start\n([\s\S]*?)\n## /.exec(readme) ?? []
  const lines = chapter.replaceAll('\\\n', ' ').split('\n')
  return lines.filter((line) => line.startsWith(start))
}

test(
  'the commands of README.md do what it says: ask, wait, fetch, and start from a photo with a mask',
  patience,
  async () => {
    const folder = await mkdtemp(join(tmpdir(), 'packshot-readme-'))
    const png = await sharp({ create: { width: 256, height: 256, channels: 3, background: 'white' } })
      .png()
      .toBuffer()
    const jpeg = await sharp(png).jpeg().toBuffer()
    await Promise.all([writeFile(join(folder, 'mask.png'), png), writeFile(join(folder, 'photo.jpg'), jpeg)])
    const shell = promisify(execFile)
    const run = async (command: string) => {
      const here = command.replaceAll('localhost:8080', url.replace('http://', '').replace(/\/$/, ''))
      return (await shell('sh', ['-c', here], { cwd: folder })).stdout
    }
    const [ask = '', poll = '', fetchIt = '', photo = '', mask = '', start = ''] = await commandsOf('curl ')
    const first = JSON.parse(await run(ask))
    assert.ok(['queued', 'running', 'succeeded'].includes(first.status))
    let job = first
    await waitFor(async () => {
      job = JSON.parse(await run(poll.replace('<id>', first.id)))
      assert.ok(['queued', 'running', 'succeeded'].includes(job.status), job.status)
      return job.status === 'succeeded'
    }, patience.timeout)
    await run(fetchIt.replace('<id>', first.id))
    assert.equal(
      (await sharp(await readFile(join(folder, 'apple.png'))).metadata()).width,
      job.images[0].width,
    )
    const ids = [JSON.parse(await run(photo)).id, JSON.parse(await run(mask)).id]
    const request = start.replace('<photo id>', ids[0]).replace('<mask id>', ids[1])
    const second = JSON.parse(await run(request)).request
    assert.deepEqual([second.init_image, second.mask, second.strength], [...ids, 0.8])
    await assert.rejects(
      run(fetchIt.replace('<id>', 'none')),
      'curl -f must not write an error into the picture',
    )
    await rm(folder, { recursive: true })
  },
)

test('a program in the page follows a job with EventSource, which ends with it', async () => {
  await using visitor = await visit(browser, url, still)
  const { page } = visitor
  const seen = await page.evaluate(async () => {
    const body = JSON.stringify({ prompt: 'a red apple', steps: 100, previews: 2 })
    const headers = { 'content-type': 'application/json' }
    const answer = await fetch('/v1/jobs', { method: 'POST', headers, body })
    const { id } = (await answer.json()) as { id: string }
    const events = new EventSource(`/v1/jobs/${id}/events`)
    const types: string[] = []
    for (const type of ['status', 'progress', 'preview']) {
      events.addEventListener(type, () => types.push(type))
    }
    const last = await new Promise<{ status: string }>((resolve) => {
      events.addEventListener('done', (event) => resolve(JSON.parse((event as MessageEvent).data)))
    })
    // it is not closed here: the browser connects once more, and is told to stay away
    await new Promise<void>((resolve) => {
      events.onerror = () => {
        if (events.readyState === EventSource.CLOSED) resolve()
      }
    })
    return { types, status: last.status }
  })
  assert.equal(seen.status, 'succeeded')
  assert.equal(seen.types[0], 'status')
  assert.ok(seen.types.includes('progress') || seen.types.includes('preview'), seen.types.join())
})

test('the client of README.md makes its picture', patience, async () => {
  const readme = await readFile(new URL('../../README.md', import.meta.url), 'utf8')
  const [, client = ''] = /^```js\n(.*?)^```/ms.exec(readme) ?? []
  const folder = await mkdtemp(join(tmpdir(), 'packshot-readme-'))
  await writeFile(join(folder, 'client.mjs'), client)
  const env = { ...process.env, PACKSHOT: url.replace(/\/$/, '') }
  await promisify(execFile)(process.execPath, ['client.mjs'], { cwd: folder, env })
  const file = await readFile(join(folder, 'apple.png'))
  await rm(folder, { recursive: true })
  assert.match(file.toString('latin1'), /^.PNG[\s\S]*parameters\0a red apple on white/)
})
