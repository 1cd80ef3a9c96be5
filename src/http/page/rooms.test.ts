import assert from 'node:assert/strict'
import { after, beforeEach, suite, test } from 'node:test'
import { ballPng } from '../../../test/browser/png.ts'
import { buildStudio, Studio } from '../../../test/browser/studio.ts'
import { filesOfZip } from '../../../test/kit/zip.ts'
import { encodePng } from '../../diffusion/output/png.ts'
import { resolveRequest } from '../../jobs/request/resolve.ts'
import { curlCall, nodeCall } from './api-call.ts'
import { readBack } from './read-back.ts'

/** Pictures, Models, looks and what is read back, by inject: all of it without JavaScript. */

let studio = new Studio()
let app = await buildStudio(studio)
let cookies = new Map<string, string>()
beforeEach(async () => {
  await app.close()
  studio = new Studio()
  app = await buildStudio(studio)
  cookies = new Map()
})
after(() => app.close())

async function send(
  url: string,
  form?: string[][],
  { payload, type = 'application/x-www-form-urlencoded', ...others }: Record<string, string | Buffer> = {},
) {
  const answer = await app.inject({
    method: form === undefined && payload === undefined ? 'GET' : 'POST',
    url,
    headers: {
      cookie: [...cookies].map((each) => each.join('=')).join('; '),
      ...(form === undefined && payload === undefined ? {} : { 'content-type': String(type) }),
      ...others,
    },
    ...(form === undefined ? {} : { payload: new URLSearchParams(form as [string, string][]).toString() }),
    ...(payload === undefined ? {} : { payload }),
  })
  for (const { name, value } of answer.cookies) cookies.set(name, value)
  return answer
}

async function take(prompt: string, count = 1): Promise<string> {
  await send('/jobs', [
    ['prompt', prompt],
    ['count', String(count)],
  ])
  studio.finish()
  return studio.newest.id
}

const keysOn = (page: string) => [...page.matchAll(/name="picture:([^"]+)"/g)].map(([, key]) => key)

suite('the page of pictures', () => {
  test('has all of them, newest first, 48 a page, found by words and by hearts', async () => {
    const first = await take('a red apple', 4)
    for (let jobs = 0; jobs < 12; jobs += 1) await take(`a lemon ${jobs}`, 4)
    const page = (await send('/pictures')).body
    assert.equal(keysOn(page).length, 48)
    assert.match(page, /goes in \d+ days/)
    assert.doesNotMatch(page, /apple/)
    const [, next = ''] = /href="([^"]+)">Older pictures/.exec(page) ?? []
    const older = (await send(next.replaceAll('&#61;', '='))).body
    assert.deepEqual(
      keysOn(older),
      [0, 1, 2, 3].map((index) => `${first}.${index}`),
    )
    assert.equal(keysOn((await send('/pictures?words=APPLE+red')).body).length, 4)
    assert.match((await send('/pictures?words=plum')).body, /None of your pictures is like that/)
    assert.equal((await send('/pictures/like', [['like', `${first}.2`]])).statusCode, 303)
    assert.deepEqual(keysOn((await send('/pictures?liked=1')).body), [`${first}.2`])
    const tile = await send('/pictures/like', [['like', `${first}.2`]], { 'hx-request': 'true' })
    assert.match(tile.body, /^<li class="tile".*aria-pressed="false"/s)
    for (const after of ['-1', 'x', '1e9', '999999999999']) {
      assert.equal((await send(`/pictures?after=${after}`)).statusCode, 200)
    }
  })

  test('packs what is chosen into a ZIP, each file once and under a name of its own', async () => {
    const [id, other] = [await take('ein Apfel / ../x'), await take('a lemon', 2)]
    const keys = [`${id}.0`, `${other}.1`, `${other}.9`, `${id}0.0`]
    const zip = await send(
      '/pictures/zip',
      keys.map((key) => [`picture:${key}`, '1']),
    )
    assert.equal(zip.headers['content-type'], 'application/zip', zip.body.slice(zip.body.indexOf('<main')))
    const names = [...filesOfZip(zip.rawPayload).keys()]
    assert.equal(names.length, 2)
    assert.match(String(names[0]), /^ein-apfel-x-\d+\.png$/)
    assert.equal((await send('/pictures/zip', [])).statusCode, 400)
    const many = Array.from({ length: 61 }, (_, index) => [`picture:${id}.${index}`, '1'])
    assert.match((await send('/pictures/zip', many)).body, /At most 60 pictures/)
  })

  test('asks before it deletes; a job goes with the last of its pictures', async () => {
    const id = await take('a red apple', 2)
    const removed: string[] = []
    studio.remove = async (job: string) => {
      removed.push(job)
      return studio.view(job)
    }
    const one = [[`picture:${id}.0`, '1']]
    const question = await send('/pictures/delete', one)
    assert.match(question.body, /Delete this picture for good\?/)
    assert.equal(keysOn((await send('/pictures')).body).length, 2)
    const done = await send('/pictures/delete', [...one, ['sure', '1'], ['back', '//evil.example']])
    assert.equal(done.headers.location, '/pictures?deleted=1')
    assert.deepEqual([keysOn((await send('/pictures')).body), removed], [[`${id}.1`], []])
    await send('/pictures/delete', [
      [`picture:${id}.1`, '1'],
      ['sure', '1'],
    ])
    assert.deepEqual([keysOn((await send('/pictures')).body), removed], [[], [id]])
    const foreign = (await studio.submit({ prompt: 'of somebody else' })).id
    const refused = await send('/pictures/delete', [
      [`picture:${foreign}.0`, '1'],
      ['sure', '1'],
    ])
    assert.deepEqual([refused.statusCode, removed], [404, [id]])
  })
})

suite('settings of a picture', () => {
  const multipart = (file: Uint8Array) => ({
    type: 'multipart/form-data; boundary=b',
    payload: Buffer.concat([
      Buffer.from('--b\r\ncontent-disposition: form-data; name="picture"; filename="a.png"\r\n\r\n'),
      file,
      Buffer.from('\r\n--b--\r\n'),
    ]),
  })
  const theirs = `masterpiece, (apple:1.2), <lora:glossy:0.7>
second line
Negative prompt: blurry, text
and more
Steps: 28, Sampler: Euler a, Schedule type: Karras, CFG scale: 6.5, Seed: 12, Size: 192x256, Model hash: 1, Model: "dream, shaper", Clip skip: 2, ENSD: 31337, Hires upscale: 2, Version: v1.10`

  test('of the web UI fill the form, and what is not known here is said', async () => {
    const picture = encodePng(
      { width: 1, height: 1, rgb: new Uint8Array(3) },
      {
        parameters: theirs,
      },
    )
    const page = await send('/pictures/settings', undefined, multipart(picture))
    assert.equal(page.statusCode, 200)
    for (const words of ['masterpiece, (apple:1.2)', 'blurry, text\nand more', 'dream, shaper is not here']) {
      assert.ok(page.body.includes(words), words)
    }
    assert.match(page.body, /Not known here, and left out: ENSD\./)
    assert.match(page.body, /name="hires_scale"[^>]*value="2"/)
    assert.match(page.body, /name="steps"[^>]*value="28"|value="28"[^>]*name="steps"/)
    for (const file of [ballPng(8, 8), Buffer.from('GIF89a'), Buffer.alloc(1)]) {
      const refused = await send('/pictures/settings', undefined, multipart(file))
      assert.equal(refused.statusCode, 422)
    }
    assert.equal((await send('/pictures/settings', undefined, multipart(new Uint8Array()))).statusCode, 400)
  })

  test('of our own are read with every digit, and what is missing is said', () => {
    const ours = (more: string) => {
      const line = `Steps: 8, CFG scale: 1, Seed: 12, Size: 192x192, Version: Packshot 0.1.0${more}`
      return readBack(`an apple\n${line}`, studio.offer())
    }
    const hires = 'Denoising strength: 0.30000000000000004, Hires upscale: 1.6666666666666667, Hires steps: 4'
    const read = ours(
      `, ${hires}, Eta: 0.1234567, Packshot guidance end: 0.12345678, Packshot precision: int8`,
    )
    const { hires_scale, hires_strength, eta, guidance_end, precision } = read?.values ?? {}
    assert.deepEqual(
      [hires_scale, hires_strength, eta, guidance_end, precision, read?.notes],
      ['1.6666666666666667', '0.30000000000000004', '0.1234567', '0.12345678', 'int8', []],
    )
    // a server may have another default
    assert.equal(ours('')?.values.precision, 'exact')
    assert.equal(readBack(theirs, studio.offer())?.values.precision, undefined)
    const margin = { top: 0, right: 0, bottom: 0, left: 0 }
    const finish = JSON.stringify({ fill: 70, width: 1600, height: 1600, margin, shadow: 'soft' })
    const finished = ours(`, Packshot finish: ${JSON.stringify(finish)}`)
    assert.deepEqual([finished?.values.finish_fill, finished?.values.finish_shadow], ['70', 'soft'])
    assert.match(finished?.notes.join() ?? '', /background was a picture of its own/)
    assert.match(ours(', Packshot finish: "{"')?.notes.join() ?? '', /finished is not understood/)
  })

  test('are read from any text without an end, and only from settings', () => {
    const offer = studio.offer()
    assert.deepEqual(readBack(theirs, offer)?.values.seed, '12')
    const hostile = [
      '',
      'Steps: 1',
      'a'.repeat(1e6),
      ' '.repeat(1e5),
      'a:"'.repeat(3e4),
      `Steps: ${'9'.repeat(9999)}, a: b, c: d`,
      `Steps: 4, ${'a: b, '.repeat(5000)}`,
      'Steps: <script>, CFG scale: 1e999, Seed: --1',
    ]
    for (const text of hostile) {
      const { values, notes } = readBack(text, offer) ?? { values: {}, notes: [] }
      assert.ok(JSON.stringify([values, notes]).length < 70_000)
    }
  })
})

suite('looks', () => {
  test('are saved from the form, chosen from chips, and bounded', async () => {
    const fields = [
      ['prompt', 'a pear'],
      ['negative_prompt', 'text'],
      ['seed', '7'],
      ['steps', '9'],
      ['look_name', ' Soft  <b> '],
    ]
    assert.equal((await send('/looks', fields)).headers.location, '/?look=Soft+%3Cb%3E')
    const page = (await send('/?look=Soft+%3Cb%3E')).body
    assert.match(page, /<a class="pick"[^>]*aria-current="true">Soft &#60;b&#62;</)
    assert.match(page, />\s*a pear<\/textarea>/)
    assert.doesNotMatch(page, /id="seed"[^>]*value="7"/)
    const fragment = await send(
      '/looks',
      [
        ['prompt', 'x'],
        ['look_name', 'two'],
      ],
      { 'hx-request': 'true' },
    )
    assert.match(fragment.body, /^<form id="request".*>two<\/a>/s)
    for (const name of ['', '   '])
      assert.equal((await send('/looks', [['look_name', name]])).statusCode, 400)
    assert.equal(
      (
        await send('/looks', [
          ['look_name', 'x'],
          ['prompt', 'x'.repeat(9000)],
        ])
      ).statusCode,
      400,
    )
    for (let count = 0; count < 45; count += 1) await send('/looks', [['look_name', `n${count}`]])
    assert.equal([...(await send('/')).body.matchAll(/class="pick" href="[^"]*look/g)].length, 40)
    await send('/looks/remove', [['look_name', 'n44']])
    assert.doesNotMatch((await send('/')).body, />n44</)
  })
})

test('the page of models has what can be used and what cannot, and changes nothing', async () => {
  studio.about = { description: 'Groceries <b>.', parameters: 6_300_000 }
  const offer = studio.offer()
  studio.offer = () => ({
    ...offer,
    models: [{ ...offer.models[0], ...studio.about } as never],
    unusable: [{ name: 'broken', problem: 'is a pickle' }],
  })
  const { body } = await send('/models')
  for (const words of [
    'Groceries &#60;b&#62;.',
    '6.3 million weights',
    '256 × 256',
    'broken',
    'is a pickle',
    'npm run models -- add',
  ]) {
    assert.ok(body.includes(words), words)
  }
  assert.match(body, /<a href="\/models" aria-current="page">Models/)
  assert.doesNotMatch(body.slice(body.indexOf('<main')), /<form/)
})

test('the call of the API has exactly the values of the job', async () => {
  await take(`it's "a" $pear \`x\``, 2)
  const { request } = studio.newest
  assert.ok(request)
  const shell = curlCall(request, 'http://localhost:1', true)
  const [, body = ''] = /-d '(.*)'$/s.exec(shell) ?? []
  const sent = JSON.parse(body.replaceAll("'\\''", "'"))
  assert.deepEqual(resolveRequest(sent, studio.offer(), studio.limits, 1).request, request)
  assert.match(shell, /authorization: Bearer \$PACKSHOT_KEY/)
  const [, made = ''] =
    /JSON\.stringify\((\{.*?\n {2}\})\)/s.exec(nodeCall(request, 'http://localhost:1', false)) ?? []
  assert.deepEqual(JSON.parse(made), JSON.parse(JSON.stringify(request)))
})
