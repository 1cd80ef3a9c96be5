import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MemoryError } from '../errors.ts'
import { SessionCache } from './session-cache.ts'

/** A cache of sessions that only record what is done with them. */
function cache(budget: number) {
  const done: string[] = []
  const sessions = new SessionCache<{ name: string; release(): Promise<void> }>(budget)
  const [one, two] = [{ model: 'one' }, { model: 'two' }]
  const get = (owner: { model: string }, key: string, bytes = 10) => {
    const name = `${owner.model} ${key}`
    return sessions.get(owner, key, () => ({
      bytes,
      create: async () => {
        done.push(`create ${name}`)
        return { name, release: async () => void done.push(`release ${name}`) }
      },
    }))
  }
  return { sessions, get, done, one, two }
}

test('models share one budget: the least recently used session makes room, whichever model has it', async () => {
  const { sessions, get, done, one, two } = cache(30)
  await get(one, 'unet')
  await get(two, 'unet')
  await get(one, 'text')
  assert.equal((await get(one, 'unet')).name, 'one unet')
  await get(two, 'text')
  assert.deepEqual(done.slice(3), ['release two unet', 'create two text'])
  assert.deepEqual([sessions.bytes(one), sessions.bytes(two), sessions.bytes()], [20, 10, 30])
})

test('a session that exceeds the whole budget is refused before it is created', async () => {
  const { sessions, get, done, one } = cache(30 * 2 ** 20)
  await get(one, 'small')
  await assert.rejects(get(one, 'large', 31 * 2 ** 20), (thrown) => {
    assert.ok(thrown instanceof MemoryError)
    assert.match(thrown.message, /needs about 31 MiB of memory; a worker may use 30 MiB/)
    return true
  })
  assert.deepEqual(done, ['create one small', 'release one small'])
  assert.equal(sessions.bytes(), 0)
})

test('room can be made for what is no session, and an owner takes its sessions with it', async () => {
  const { sessions, get, done, one, two } = cache(30)
  await get(one, 'unet')
  await get(two, 'unet')
  await sessions.makeRoom(15)
  assert.deepEqual(done.slice(2), ['release one unet'])
  await assert.rejects(sessions.makeRoom(31), MemoryError)
  await get(one, 'text')
  await get(two, 'text')
  await sessions.release(one)
  assert.deepEqual([sessions.bytes(one), sessions.bytes(two)], [0, 10])
})
