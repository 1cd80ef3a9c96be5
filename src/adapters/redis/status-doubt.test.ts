import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { lastFirst } from '../../../test/cleanup.ts'
import { someTask } from '../../../test/contract/jobs.ts'
import { stretched, waitFor } from '../../../test/kit/waiting.ts'
import { keepingLog } from '../../../test/quiet-log.ts'
import { startRedis } from '../../../test/services/redis.ts'
import { openRedis } from './connection.ts'
import { redisStatusStore } from './status-store.ts'

/** Longer than a process doubts after a fault of its own. */
const ownDoubtIsOverMs = 5500

test('an end that could not be written puts every server in doubt once Redis is back; else none is', async (t) => {
  const server = await startRedis(t)
  const timeoutMs = stretched(200)
  const open = async () => {
    const redis = await openRedis({ url: server.url, log: keepingLog(), timeoutMs })
    const store = redisStatusStore(redis, { namespace: 'test', log: keepingLog() })
    lastFirst(t).after(async () => {
      await store.close()
      await redis.close()
    })
    return { redis, store }
  }
  const [reader, writer] = [await open(), await open()]
  const task = someTask()
  await reader.store.create(task)
  await reader.store.get(task.id)
  assert.equal(reader.store.doubtful(), false)

  await server.hang()
  await assert.rejects(writer.store.advance(task.id, { status: 'succeeded' }), { code: 'unavailable' })
  server.resume()
  const marked = async () => (await reader.redis.command('EXISTS', 'test:doubt').catch(() => 0)) === 1
  await waitFor(marked)
  await sleep(ownDoubtIsOverMs)
  await reader.store.get(task.id)
  assert.equal(reader.store.doubtful(), true)
  const left = Number(await reader.redis.command('PTTL', 'test:doubt'))
  assert.ok(left > 60_000 && left <= 90_000, `${left} ms`)
})
