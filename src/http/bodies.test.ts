import assert from 'node:assert/strict'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { listening } from '../../test/wire/raw.ts'

const json = { 'content-type': 'application/json' }
const form = { 'content-type': 'application/x-www-form-urlencoded' }

test('a body that is not UTF-8 is refused with the reason, as JSON and as a form', async (t) => {
  const { url, studio } = await listening(t)
  const latin1 = Buffer.from('{"prompt":"une pêche"}', 'latin1')
  const half = Buffer.concat([Buffer.from('{"prompt":"a'), Buffer.of(0xe2, 0x82), Buffer.from('"}')])
  const shiftJis = Buffer.concat([Buffer.from('{"prompt":"'), Buffer.of(0x93, 0x8e), Buffer.from('"}')])
  for (const body of [latin1, half, shiftJis]) {
    const answer = await fetch(`${url}/v1/jobs`, { method: 'POST', headers: json, body })
    const { error } = (await answer.json()) as { error: { code: string; message: string } }
    assert.deepEqual([answer.status, error.code], [400, 'invalid_json'])
    assert.match(error.message, /not UTF-8/)
  }
  const sjis = { 'content-type': 'application/json; charset=iso-8859-1' }
  assert.equal((await fetch(`${url}/v1/jobs`, { method: 'POST', headers: sjis, body: latin1 })).status, 400)
  for (const body of [
    Buffer.from('prompt=p\u00eache', 'latin1'),
    Buffer.from('prompt=p%EAche'),
    Buffer.from('prompt=%E2%82'),
  ]) {
    const answer = await fetch(`${url}/jobs`, { method: 'POST', headers: form, body })
    assert.equal(answer.status, 400)
    assert.match(await answer.text(), /The form is not UTF-8/)
  }
  assert.equal(studio.submitted, 0)
})

test('words in UTF-8 arrive as they were sent, as JSON and as a form', async (t) => {
  const { url, studio } = await listening(t)
  const prompt = 'une pêche 桃 🍑 \ufffd a+b&c=d'
  const sent = await fetch(`${url}/v1/jobs`, {
    method: 'POST',
    headers: json,
    body: `\ufeff${JSON.stringify({ prompt })}`,
  })
  assert.equal(sent.status, 202)
  assert.equal(studio.newest.request?.prompt, prompt)
  await fetch(`${url}/jobs`, {
    method: 'POST',
    headers: form,
    body: new URLSearchParams({ prompt }).toString(),
    redirect: 'manual',
  })
  assert.equal(studio.submitted, 2)
  assert.equal(studio.newest.request?.prompt, prompt)
})

test('a key that comes twice is refused by its name, however it is written and however deep', async (t) => {
  const { url } = await listening(t)
  const ask = async (body: string) => {
    const answer = await fetch(`${url}/v1/jobs`, { method: 'POST', headers: json, body })
    const { error } = (await answer.json()) as { error?: { message: string } }
    return [answer.status, error?.message ?? ''] as const
  }
  for (const body of [
    '{"prompt":"a","prompt":"b"}',
    '{"prompt":"a","pro\\u006dpt" :"b"}',
    '{"x":[{"prompt":1,"y":{"prompt":2},"prompt":3}]}',
  ]) {
    const [status, message] = await ask(body)
    assert.equal(status, 400, body)
    assert.match(message, /key "prompt" twice/)
  }
  assert.equal((await ask('{"prompt":"a \\"prompt\\": {}[ b"}'))[0], 202)
  assert.match((await ask(`${'{"a":'.repeat(9000)}1${'}'.repeat(9000)}`))[1], /a is|unknown|must|no field/i)
  const twice = await fetch(`${url}/jobs`, { method: 'POST', headers: form, body: 'prompt=a&prompt=b' })
  assert.equal(twice.status, 400)
  assert.match(await twice.text(), /prompt.* twice/)
})

test('a compressed body is refused as such', async (t) => {
  const { url } = await listening(t)
  const body = gzipSync('{"prompt":"a"}')
  for (const path of ['/v1/jobs', '/jobs', '/v1/uploads']) {
    for (const encoding of ['gzip', 'br', 'zstd', 'gzip, gzip']) {
      const answer = await fetch(url + path, {
        method: 'POST',
        headers: { ...json, 'content-encoding': encoding },
        body,
      })
      assert.equal(answer.status, 415, path)
      assert.match(await answer.text(), /without content-encoding/)
    }
  }
})
