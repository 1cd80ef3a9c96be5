import assert from 'node:assert/strict'
import { test } from 'node:test'
import { someTask } from '../../test/contract/jobs.ts'
import { AppError } from './errors.ts'
import { chainOf, scrubbed, textsIn } from './reports.ts'

test('nothing of a report is a password, a query, a header, a key, a whole id or part of a text that a user wrote', () => {
  const { id } = someTask()
  const cases: [string, string][] = [
    ['connect amqp://user:pa%40ss@host:5672/v', 'connect amqp://host:5672/v'],
    ['GET https://a.test/b/c?x=1&key=2#z failed', 'GET https://a.test/b/c failed'],
    ['Authorization: Bearer abc.def', 'Authorization: (removed)'],
    ['{"authorization":"Bearer abc","x-api-key":"k1"}', '{"authorization":(removed),"x-api-key":(removed)}'],
    ['sent with Bearer abcdefghij', 'sent with Bearer (removed)'],
    ['key pks_0123456789_abcDEF', 'key (removed)'],
    ['password=hunter2, token: hunter2', 'password=(removed), token: (removed)'],
    [`no manifest of ${id}`, `no manifest of ${id.slice(0, 26)}`],
    ['unet/model.safetensors is truncated at byte 17.', 'unet/model.safetensors is truncated at byte 17.'],
  ]
  for (const [text, plain] of cases) assert.equal(scrubbed(text), plain)
})

test('a user`s text is found whole and in pieces, whatever its length', () => {
  const prompt = 'a red apple on an old table'
  assert.equal(scrubbed(`cannot lay out "${prompt}"`, [prompt]), 'cannot lay out "(removed)"')
  assert.equal(scrubbed('unexpected "on an old tabl" at 12', [prompt]), 'unexpected "(removed)" at 12')
  assert.equal(scrubbed('token "cat" of 3', ['cat']), 'token "(removed)" of 3')
  assert.equal(scrubbed('nothing of it', [prompt, '', 'x']), 'nothing of it')
  assert.ok(!scrubbed('é'.repeat(5000), ['é'.repeat(3000)]).includes('é'))
})

test('texts of a body are found at any depth, up to bounds', () => {
  assert.deepEqual(textsIn({ a: 'one', b: [{ c: 'two' }, 3, null], d: Buffer.from('three') }), ['one', 'two'])
  const round: Record<string, unknown> = { text: 'deep' }
  round.self = round
  assert.ok(textsIn(round).length < 10)
  assert.ok(textsIn(Array.from({ length: 10_000 }, String)).length <= 200)
})

test('an error is told with its causes, each once', () => {
  const inner = new TypeError('inner')
  const error = new AppError('generation_failed', 'outer', { cause: inner })
  inner.cause = error
  assert.deepEqual(
    chainOf(error).map(({ type, message }) => [type, message]),
    [
      ['AppError generation_failed', 'outer'],
      ['TypeError', 'inner'],
    ],
  )
  assert.deepEqual(chainOf('a text'), [{ type: 'string', message: 'a text', stack: '' }])
})
