import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type EngineChoice, EnginePool } from './engine-pool.ts'

/** Engines that only record what is done with them; `memory` is what they hold. */
function pool() {
  const done: string[] = []
  const memory: Record<string, number> = {}
  const made = new EnginePool({
    open: async ({ name }: EngineChoice) => {
      if (name === 'bad') throw new Error('it is damaged')
      done.push(`open ${name}`)
      memory[name] = 10
      return {
        get bytes() {
          return memory[name] ?? 0
        },
        close: async () => {
          done.push(`close ${name}`)
        },
      }
    },
  })
  const get = (name: string, stamp = '', work = async () => {}) => made.use({ name, key: name, stamp }, work)
  return { made, get, done, memory }
}

test('what is used again is not loaded again', async () => {
  const { get, done, made } = pool()
  await get('a')
  await get('b')
  await get('a')
  assert.deepEqual(done, ['open a', 'open b'])
  assert.deepEqual(made.held(), ['a', 'b'])
})

test('an engine whose memory others took is closed after the picture', async () => {
  const { get, done, made, memory } = pool()
  await get('a')
  await get('b', '', async () => {
    memory.a = 0
    assert.deepEqual(made.held(), ['b', 'a'])
  })
  assert.deepEqual(done, ['open a', 'open b', 'close a'])
  assert.deepEqual(made.held(), ['b'])
})

test('a file that changed is loaded anew', async () => {
  const { get, done } = pool()
  await get('a', 'Monday')
  await get('a', 'Tuesday')
  assert.deepEqual(done, ['open a', 'close a', 'open a'])
})

test('one that cannot be loaded is not held, and the next try tries again', async () => {
  const { get, made } = pool()
  await get('a')
  await assert.rejects(get('bad'), /it is damaged/)
  await assert.rejects(get('bad'), /it is damaged/)
  assert.deepEqual(made.held(), ['a'])
  await made.close()
  assert.deepEqual(made.held(), [])
})

test('one that is used by several is opened once, and closed when none of them has it', async () => {
  const { get, done, memory } = pool()
  const [first, second] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const uses = [get('a', 'Monday', () => first.promise), get('a', 'Monday', () => second.promise)]
  memory.a = 0
  await get('b')
  assert.deepEqual(done, ['open a', 'open b'], 'it holds nothing yet')
  await get('a', 'Tuesday')
  assert.deepEqual(done, ['open a', 'open b', 'open a'])
  first.resolve()
  await uses[0]
  assert.equal(done.length, 3)
  second.resolve()
  await uses[1]
  assert.deepEqual(done, ['open a', 'open b', 'open a', 'close a'])
})
