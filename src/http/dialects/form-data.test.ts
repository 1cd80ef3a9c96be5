import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { partsOf } from './form-data.ts'

const type = 'multipart/form-data; boundary=x'
const part = (head: string, bytes = 'a') =>
  `--x\r\ncontent-disposition: form-data; ${head}\r\n\r\n${bytes}\r\n`

test('a form of fetch is read as it was sent, bytes that look like a boundary included', async () => {
  const bytes = Buffer.concat([
    randomBytes(300_000),
    Buffer.from('\r\n--'),
    randomBytes(10),
    Buffer.from('\r\n'),
  ])
  const form = new FormData()
  form.append('image[]', new Blob([bytes]), 'a "b" é.png')
  form.append('prompt', 'une pêche\r\n\r\nrouge')
  form.append('empty', '')
  const encoded = new Response(form)
  const body = Buffer.from(await encoded.arrayBuffer())
  const [file, prompt, empty, ...rest] = partsOf(body, String(encoded.headers.get('content-type')))
  assert.deepEqual([file?.name, file?.fileName, rest.length], ['image[]', 'a "b" é.png', 0])
  assert.ok(file?.bytes.equals(bytes))
  // a form has line breaks of one kind
  assert.deepEqual([prompt?.name, prompt?.fileName], ['prompt', undefined])
  assert.equal(String(prompt?.bytes), 'une pêche\r\n\r\nrouge')
  assert.deepEqual([empty?.name, empty?.bytes.length], ['empty', 0])
})

test('what comes before the first part and after the last is no part', () => {
  const body = Buffer.from(`preamble\r\n${part('name=a')}${part('name="b"; filename=""')}--x--\r\nepilogue`)
  const parts = partsOf(body, 'Multipart/Form-Data; charset=utf-8; boundary="x"')
  assert.deepEqual(
    parts.map(({ name, fileName }) => [name, fileName]),
    [
      ['a', undefined],
      ['b', ''],
    ],
  )
})

test('a form that is cut, has no names, or has too many parts is refused', () => {
  const whole = `${part('name=a')}--x--\r\n`
  for (let length = 0; length < whole.indexOf('--x--') + 5; length += 1) {
    assert.throws(() => partsOf(Buffer.from(whole.slice(0, length)), type), { code: 'invalid_request' })
  }
  for (const body of [part('filename=a'), part(`name=a; x=${'x'.repeat(5000)}`), '--x\r\n\r\na\r\n']) {
    assert.throws(() => partsOf(Buffer.from(`${body}--x--`), type), { code: 'invalid_request' })
  }
  assert.throws(() => partsOf(Buffer.from(`${part('name=a').repeat(51)}--x--`), type), /at most 50 parts/)
  for (const other of ['multipart/form-data', 'application/json', undefined]) {
    assert.throws(() => partsOf(Buffer.from(whole), other), { code: 'unsupported_media_type' })
  }
  assert.throws(() => partsOf({}, type), { code: 'unsupported_media_type' })
})
