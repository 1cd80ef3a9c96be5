import type { StatusStore } from '../../jobs/ports.ts'
import type { Redis } from './connection.ts'
import { defineScript } from './script.ts'
import { texts } from './state.ts'

/** KEYS: places, texts. ARGV: id, at, text, most, ms to keep the list. */
const shelveScript = defineScript(`
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
local old = redis.call('ZRANGE', KEYS[1], 0, -1 - ARGV[4])
for _, id in ipairs(old) do redis.call('HDEL', KEYS[2], id) end
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
redis.call('PEXPIRE', KEYS[2], ARGV[5])
`)

/** KEYS: places, texts. ARGV: ms to keep the list. Returns id, place and text in turn. */
const shelvedScript = defineScript(`
local places = redis.call('ZREVRANGE', KEYS[1], 0, -1, 'WITHSCORES')
if #places == 0 then return {} end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[1])
local items = {}
for i = 1, #places, 2 do
  local text = redis.call('HGET', KEYS[2], places[i])
  if text then
    items[#items + 1] = places[i]
    items[#items + 1] = places[i + 1]
    items[#items + 1] = text
  end
end
return items
`)

/** KEYS: places, texts. ARGV: ids. */
const unshelveScript = defineScript(`
for _, id in ipairs(ARGV) do
  redis.call('ZREM', KEYS[1], id)
  redis.call('HDEL', KEYS[2], id)
end
`)

/** Lists of small texts: a sorted set with their places and a hash with the texts, which expire together. */
export function redisShelves(
  redis: Redis,
  key: (name: string) => string,
): Pick<StatusStore, 'shelve' | 'shelved' | 'unshelve'> {
  const keysOf = (list: string) => [key(`shelf:${list}`), key(`shelf-texts:${list}`)]
  return {
    async shelve(list, { id, at, text }, { most, seconds }) {
      await redis.script(shelveScript, keysOf(list), [id, String(at), text, String(most), msOf(seconds)])
    },
    async shelved(list, seconds) {
      const values = texts(await redis.script(shelvedScript, keysOf(list), [msOf(seconds)]))
      return values.flatMap((id, index) => {
        const [at, text] = [values[index + 1], values[index + 2]]
        return index % 3 === 0 && id !== undefined && text !== undefined ? [{ id, at: Number(at), text }] : []
      })
    },
    async unshelve(list, ids) {
      if (ids.length > 0) await redis.script(unshelveScript, keysOf(list), [...ids])
    },
  }
}

function msOf(seconds: number): string {
  return String(Math.ceil(seconds * 1000))
}
