import { statusRank } from '../../jobs/job.ts'
import { places } from './places.ts'
import { defineScript } from './script.ts'

/**
 * KEYS[6] state. ARGV: id, class, units, ms until it expires, ms to keep the state, account, then the state's fields.
 * Returns whether it is new.
 */
export const createScript = defineScript(`${places}
sweep()
local id, kept = ARGV[1], tonumber(ARGV[5])
local new = redis.call('EXISTS', KEYS[6]) == 0
if new then
  redis.call('HSET', KEYS[6], 'status', 'queued', 'rank', ${statusRank.queued}, 'units', ARGV[3], unpack(ARGV, 7))
  redis.call('PEXPIRE', KEYS[6], ARGV[5])
  if not find(id) then enter(id, ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[6]) end
end
keep(kept)
return new
`)

/**
 * KEYS[6] state. ARGV: id, status, rank, ms of silence after which a running job does not count, start of the keys of
 * accounts, then the changed fields. A job whose state was evicted still leaves its place.
 */
export const advanceScript = defineScript(`${places}
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

/** KEYS[6] workers by last heartbeat, KEYS[7] their speeds. ARGV: worker, speed or nothing. */
export const heartbeatScript = defineScript(`${places}
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
 * KEYS: waiting interactive, waiting batch, running, work. ARGV: start of the keys of states. Returns for each class jobs,
 * units and how many seconds the first has waited. What runs is of the class that its state says, at most the first 1000.
 */
export const backlogScript = defineScript(`
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local jobs, units, oldest, running = {}, {}, {}, { 0, 0 }
for index, place in ipairs({ 'interactive', 'batch' }) do
  jobs[index] = redis.call('ZCARD', KEYS[index])
  units[index] = jobs[index] > 0 and tonumber(redis.call('HGET', KEYS[4], '+' .. place)) or 0
  local since = tonumber(redis.call('ZRANGE', KEYS[index], 0, 0, 'WITHSCORES')[2]) or now
  oldest[index] = math.max(0, now - since) / 1000000
end
for _, id in ipairs(redis.call('ZRANGE', KEYS[3], 0, 999)) do
  local index = redis.call('HGET', ARGV[1] .. id, 'class') == 'batch' and 2 or 1
  local left = string.match(redis.call('HGET', KEYS[4], id) or '', '^%a+ (.+)$')
  running[index] = running[index] + 1
  jobs[index], units[index] = jobs[index] + 1, units[index] + (tonumber(left) or 0)
end
local function row(index)
  return { jobs[index], string.format('%.17g', units[index]), string.format('%.6f', oldest[index]), running[index] }
end
return { row(1), row(2) }
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
