import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type EngineChoice, EnginePool } from './engine-pool.ts'

/** Engines that only record what is done with them. */
function pool(budget: number) {
  const done: string[] = []
  const made = new EnginePool({
    budget,
    open: async ({ name, bytes }: EngineChoice) => {
      if (name === 'bad') throw new Error('it is damaged')
      done.push(`open ${name}`)
      return {
        bytes,
        close: async () => {
          done.push(`close ${name}`)
        },
      }
    },
  })
  const get = (name: string, bytes = 10, stamp = '') => made.get({ name, key: name, stamp, bytes })
  return { made, get, done }
}

test('what is used again is not loaded again', async () => {
  const { get, done, made } = pool(20)
  await get('a')
  await get('b')
  await get('a')
  assert.deepEqual(done, ['open a', 'open b'])
  assert.deepEqual(made.held(), ['a', 'b'])
})

test('the least recently used makes room, before what comes is loaded', async () => {
  const { get, done, made } = pool(25)
  await get('a')
  await get('b')
  await get('a')
  await get('c')
  assert.deepEqual(done, ['open a', 'open b', 'close b', 'open c'])
  assert.deepEqual(made.held(), ['c', 'a'])
})

test('one that is larger than the limit is held alone, and not closed after its picture', async () => {
  const { get, done, made } = pool(15)
  await get('a')
  await get('large', 100)
  await made.trim()
  assert.deepEqual(done, ['open a', 'close a', 'open large'])
  await get('a')
  assert.deepEqual(made.held(), ['a'])
})

test('a file that changed is loaded anew', async () => {
  const { get, done } = pool(100)
  await get('a', 10, 'Monday')
  await get('a', 10, 'Tuesday')
  assert.deepEqual(done, ['open a', 'close a', 'open a'])
})

test('one that cannot be loaded is not held, and the next try tries again', async () => {
  const { get, made } = pool(100)
  await get('a')
  await assert.rejects(get('bad'), /it is damaged/)
  await assert.rejects(get('bad'), /it is damaged/)
  assert.deepEqual(made.held(), ['a'])
  await made.close()
  assert.deepEqual(made.held(), [])
})
