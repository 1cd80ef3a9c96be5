import { statusRank } from '../../jobs/job.ts'
import { defineScript } from './script.ts'

/**
 * The scripts of the status store. Each is one atomic step, and leaves every key with a time to live.
 *
 * The unfinished jobs, so that the place of one is found in O(log n):
 *
 *   KEYS[1..3]  waiting interactive, waiting batch, running: sorted by when a job came in
 *   KEYS[4]     until: sorted by when a job stops counting unless it is updated
 *   KEYS[5]     work: id -> "<place> <units left>", and "+<place>" -> their sum
 *
 * Redis may evict any of them alone: a missing one counts as empty, and the others still work.
 * Times are microseconds of Redis' own clock.
 */
const jobs = `
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local places = { interactive = KEYS[1], batch = KEYS[2], running = KEYS[3] }
local silent, work = KEYS[4], KEYS[5]

local function whole(number) return string.format('%.0f', number) end

-- The sum of an empty place is deleted, so that rounding errors do not accumulate.
local function add(place, units)
  if redis.call('ZCARD', places[place]) == 0 then
    redis.call('HDEL', work, '+' .. place)
  else
    local sum = (tonumber(redis.call('HGET', work, '+' .. place)) or 0) + units
    redis.call('HSET', work, '+' .. place, string.format('%.17g', math.max(0, sum)))
  end
end

local function find(id)
  local entry = redis.call('HGET', work, id)
  if not entry then return nil end
  local place, units = string.match(entry, '^(%a+) (.+)$')
  return place, tonumber(units)
end

local function leave(id)
  local place, units = find(id)
  redis.call('ZREM', silent, id)
  for _, key in pairs(places) do redis.call('ZREM', key, id) end
  if place then
    redis.call('HDEL', work, id)
    add(place, -units)
  end
end

-- After the clock is set back a job still queues behind earlier ones.
local function enter(id, place, units, ms)
  local last = redis.call('ZREVRANGE', places[place], 0, 0, 'WITHSCORES')[2]
  local score = math.max(now, (tonumber(last) or 0) + 1)
  redis.call('ZADD', places[place], whole(score), id)
  redis.call('ZADD', silent, whole(now + ms * 1000), id)
  redis.call('HSET', work, id, place .. ' ' .. string.format('%.17g', units))
  add(place, units)
end

-- Jobs that are never updated again. Each call removes more than it can add, so that no set grows long.
local function sweep()
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', silent, '-inf', whole(now), 'LIMIT', 0, 10)) do leave(id) end
end

-- A key that became empty was deleted, and has no time to live when it is recreated.
local function keep(ms)
  ms = math.max(ms, 86400000)
  for index = 1, 5 do
    if redis.call('PTTL', KEYS[index]) < ms then redis.call('PEXPIRE', KEYS[index], whole(ms)) end
  end
end
`

/**
 * KEYS[6] state. ARGV: id, class, units, ms until it expires, ms to keep the state, then the state's fields. Returns
 * whether it is new.
 */
export const createScript = defineScript(`${jobs}
sweep()
local id, kept = ARGV[1], tonumber(ARGV[5])
local new = redis.call('EXISTS', KEYS[6]) == 0
if new then
  redis.call('HSET', KEYS[6], 'status', 'queued', 'rank', ${statusRank.queued}, 'units', ARGV[3], unpack(ARGV, 6))
  redis.call('PEXPIRE', KEYS[6], ARGV[5])
  if not find(id) then enter(id, ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])) end
end
keep(kept)
return new
`)

/**
 * KEYS[6] state. ARGV: id, status, rank, ms of silence after which a running job does not count, start of the keys of
 * accounts, then the changed fields. A job whose state was evicted still leaves its place.
 */
export const advanceScript = defineScript(`${jobs}
sweep()
local id, new = ARGV[1], tonumber(ARGV[3])
local known = tonumber(redis.call('HGET', KEYS[6], 'rank'))
if known and known >= new and not (known == ${statusRank.running} and ARGV[2] == 'running') then
  keep(0)
  return
end
if known then redis.call('HSET', KEYS[6], 'status', ARGV[2], 'rank', new, unpack(ARGV, 6)) end

local place, units = find(id)
if new > ${statusRank.running} then
  leave(id)
  local account = redis.call('HGET', KEYS[6], 'account')
  if account then redis.call('HDEL', ARGV[5] .. account, id) end
elseif new == ${statusRank.running} and (known or place) then
  local state = redis.call('HMGET', KEYS[6], 'units', 'step', 'steps')
  local step, steps = tonumber(state[2]), tonumber(state[3])
  local left = tonumber(state[1]) or units or 0
  if step and steps and steps > 0 then left = left * math.max(0, 1 - step / steps) end
  leave(id)
  enter(id, 'running', left, tonumber(ARGV[4]))
end
keep(redis.call('PTTL', KEYS[6]))
`)

/** KEYS: waiting interactive, waiting batch, running, work. ARGV: id. Returns nothing, or jobs and units ahead. */
export const aheadScript = defineScript(`
local function sum(place) return tonumber(redis.call('HGET', KEYS[4], '+' .. place)) or 0 end
local jobs, units = redis.call('ZCARD', KEYS[3]), sum('running')
local key, place = KEYS[1], 'interactive'
local before = redis.call('ZRANK', key, ARGV[1])
if not before then
  jobs, units = jobs + redis.call('ZCARD', key), units + sum(place)
  key, place = KEYS[2], 'batch'
  before = redis.call('ZRANK', key, ARGV[1])
  if not before then return false end
end
units = units + sum(place) * before / redis.call('ZCARD', key)
return { jobs + before, string.format('%.17g', units) }
`)

/** KEYS[6] workers by last heartbeat, KEYS[7] their speeds. ARGV: worker, speed or nothing. */
export const heartbeatScript = defineScript(`${jobs}
local day = 86400000
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[6], '-inf', whole(now - day * 1000), 'LIMIT', 0, 10)) do
  redis.call('ZREM', KEYS[6], name)
  redis.call('HDEL', KEYS[7], name)
end
redis.call('ZADD', KEYS[6], whole(now), ARGV[1])
if ARGV[2] ~= '' then redis.call('HSET', KEYS[7], ARGV[1], ARGV[2]) end
redis.call('PEXPIRE', KEYS[6], day)
redis.call('PEXPIRE', KEYS[7], day)
sweep()
keep(0)
`)

/** KEYS: workers, speeds. ARGV: ms of silence after which a worker does not count. Returns live count and speeds. */
export const loadScript = defineScript(`
local time = redis.call('TIME')
local limit = time[1] * 1000000 + time[2] - ARGV[1] * 1000
local alive = redis.call('ZCOUNT', KEYS[1], string.format('(%.0f', limit), '+inf')
local names = redis.call('ZREVRANGE', KEYS[1], 0, 7)
return { alive, #names == 0 and {} or redis.call('HMGET', KEYS[2], unpack(names)) }
`)

/**
 * The unfinished jobs of an account: id -> "<ms when it stops counting> <units>".
 * KEYS[1] account. ARGV: id, units, most jobs, most units, ms for which it counts. Returns nothing after counting the
 * job, else jobs and units. The rule is `exceeds` of work.ts.
 */
export const reserveScript = defineScript(`
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local jobs, sum = 0, 0
local entries = redis.call('HGETALL', KEYS[1])
for index = 1, #entries, 2 do
  local ends, units = string.match(entries[index + 1], '^(%d+) (.+)$')
  if not ends or tonumber(ends) <= now then
    redis.call('HDEL', KEYS[1], entries[index])
  elseif entries[index] ~= ARGV[1] then
    jobs, sum = jobs + 1, sum + tonumber(units)
  end
end
if jobs + 1 > tonumber(ARGV[3]) or (jobs > 0 and sum + ARGV[2] > tonumber(ARGV[4])) then
  return { jobs, string.format('%.17g', sum) }
end
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', now + ARGV[5]) .. ' ' .. ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return false
`)

/** KEYS: the jobs of an account by when they were created. ARGV: id, that time, the most to keep, ms to keep it. */
export const listScript = defineScript(`
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - ARGV[3])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[4]) then redis.call('PEXPIRE', KEYS[1], ARGV[4]) end
`)
