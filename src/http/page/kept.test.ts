import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { pino } from 'pino'
import { ballPng } from '../../../test/browser/png.ts'
import { lastFirst } from '../../../test/cleanup.ts'
import { embedded, quickGenerator, runDeps, storageIsAway, workUntil } from '../../../test/jobs/embedded.ts'
import { filesOfZip } from '../../../test/kit/zip.ts'
import type { KeptLimits } from '../../jobs/serving/kept.ts'
import { buildHttp } from '../app.ts'
import { createServices } from '../services.ts'

/** Keeping pictures for good on the page, by inject: all of it without JavaScript. */

async function studio(t: TestContext, keptLimits: KeptLimits = { pictures: 3, anonymous: true }) {
  const parts = embedded(t)
  const services = createServices({ ...parts, keptLimits }, () => true)
  const app = await buildHttp({ services, log: pino({ level: 'silent' }) })
  lastFirst(t).after(() => app.close())
  let cookie = ''
  const send = async (url: string, form?: string[]) => {
    const answer = await app.inject({
      method: form === undefined ? 'GET' : 'POST',
      url,
      headers: { cookie, ...(form && { 'content-type': 'application/x-www-form-urlencoded' }) },
      ...(form && {
        payload: form.map((each) => `${encodeURIComponent(each).replace('%3D', '=')}`).join('&'),
      }),
    })
    for (const { name, value } of answer.cookies) cookie = `${name}=${value}`
    return answer
  }
  const quick = quickGenerator()
  const generator: typeof quick = {
    ...quick,
    async *generate(...asked) {
      for await (const each of quick.generate(...asked))
        yield { ...each, bytes: ballPng(each.width, each.height) }
    },
  }
  const take = async (prompt: string, count = 1) => {
    const taken = await send('/jobs', [`prompt=${prompt}`, `count=${count}`])
    const id = String(taken.headers.location).slice('/jobs/'.length)
    const done = async () => (await parts.status.get(id))?.status === 'succeeded'
    await workUntil(parts, runDeps(parts, { generator }), done)
    return id
  }
  return { parts, send, take }
}

test('what is ticked is kept for good, marked, shown when its job is over, packed and deleted', async (t) => {
  const { parts, send, take } = await studio(t)
  const id = await take('an apple', 2)
  assert.match((await send('/pictures')).body, /Kept for good<\/a>: 0 of 3 pictures/)
  const back = `back=/pictures?words=apple`
  const done = await send('/pictures/keep', [`picture:${id}.1=1`, back])
  assert.equal(done.headers.location, '/pictures?words=apple&kept=1')
  const page = (await send('/pictures?kept=1')).body
  assert.match(page, /One picture kept for good\./)
  assert.match(page, /: 1 of 3 pictures/)
  const tileOf = (index: number) => page.split(`id="tile-${id}-${index}"`)[1]?.split('</li>')[0] ?? ''
  assert.match(tileOf(1), /kept for good/)
  assert.match(tileOf(0), /goes in/)
  await send('/pictures/keep', [`picture:${id}.1=1`])
  assert.match((await send('/pictures')).body, /: 1 of 3 pictures/, 'kept twice is the same')

  parts.clock.ahead = 7_200_000
  await parts.images.sweep(parts.now())
  const room = (await send('/pictures/kept')).body
  assert.match(room, /1 of 3 pictures/)
  assert.match(
    room,
    new RegExp(`href="/v1/kept/${id}-1/image\\?download&#61;1"|href="/v1/kept/${id}-1/image\\?download=1"`),
  )
  assert.match(room, /Make it again/)
  const small = await send(`/v1/kept/${id}-1/thumbnail?side=128`)
  assert.deepEqual([small.statusCode, small.headers['content-type']], [200, 'image/webp'])
  const zip = await send('/pictures/kept/zip', [`kept:${id}-1=1`, `kept:${id}-0=1`])
  assert.deepEqual(
    [...filesOfZip(zip.rawPayload).keys()].map((name) => name.replace(/\d+/, 'N')),
    ['an-apple-N.png'],
  )
  const question = await send('/pictures/kept/delete', [`kept:${id}-1=1`])
  assert.match(question.body, /Delete this picture that you kept\?/)
  const deleted = await send('/pictures/kept/delete', [`kept:${id}-1=1`, 'sure=1'])
  assert.equal(deleted.headers.location, '/pictures/kept?deleted=1')
  const empty = (await send('/pictures/kept?deleted=1')).body
  assert.match(empty, /One picture deleted\..*Pictures stay here until you delete them/s)
  for (const path of ['zip', 'delete'])
    assert.equal((await send(`/pictures/kept/${path}`, [])).statusCode, 400)
  assert.equal((await send('/pictures/kept/delete', [`kept:${id}-1=1`])).statusCode, 404)
})

test('says that no more can be kept, or that what was chosen is gone', async (t) => {
  const { send, take } = await studio(t)
  const [one, two] = [await take('an apple', 2), await take('a pear', 3)]
  const all = [
    ...[0, 1].map((each) => `picture:${one}.${each}=1`),
    ...[0, 1, 2].map((each) => `picture:${two}.${each}=1`),
  ]
  const done = await send('/pictures/keep', all)
  assert.equal(done.headers.location, '/pictures?kept=3&refused=2&full=1')
  assert.match(
    (await send('/pictures?kept=3&refused=2&full=1')).body,
    /3 pictures kept for good\. 2 pictures could not be kept, as you keep as many as you may: delete some/,
  )
  assert.equal((await send('/pictures/keep', [`picture:${one}.7=1`])).headers.location, '/pictures?refused=1')
  assert.equal((await send('/pictures/keep', [])).statusCode, 400)
})

test('the button is not there for strangers and with a bound of 0, nor is a mark while the storage is unavailable', async (t) => {
  const strangers = await studio(t, { pictures: 3, anonymous: false })
  const id = await strangers.take('an apple')
  const page = (await strangers.send('/pictures')).body
  assert.match(page, /Download as ZIP/)
  assert.doesNotMatch(page, /ept? for good/)
  for (const answer of [
    await strangers.send('/pictures/keep', [`picture:${id}.0=1`]),
    await strangers.send('/pictures/kept'),
    await strangers.send('/pictures/kept/zip', [`kept:${id}-0=1`]),
  ]) {
    assert.equal(answer.statusCode, 403)
    assert.match(answer.body, /without one nobody could say later whose they are/)
  }
  const off = await studio(t, { pictures: 0, anonymous: true })
  await off.take('an apple')
  assert.doesNotMatch((await off.send('/pictures')).body, /ept? for good/)
  const away = await studio(t)
  const other = await away.take('an apple')
  const { listKept } = away.parts.images
  away.parts.images.listKept = storageIsAway
  const without = await away.send('/pictures')
  assert.deepEqual([without.statusCode, /Keep for good/.test(without.body)], [200, false])
  assert.equal((await away.send('/pictures/keep', [`picture:${other}.0=1`])).statusCode, 503)
  away.parts.images.listKept = listKept
})
