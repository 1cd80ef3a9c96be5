/**
 * What the scripts of the status store share. Each is one atomic step, and leaves every key with a time to live.
 *
 * The unfinished jobs, so that the place of one is found in O(log n):
 *
 *   KEYS[1..3]  waiting interactive, waiting batch, running: sorted by when a job came in
 *   KEYS[4]     until: sorted by when a job stops counting unless it is updated
 *   KEYS[5]     work: id -> "<place> <units left>", "+<place>" -> their sum, and "@id" -> the account of a waiting job
 *
 * and of each waiting class, for the turns of its accounts:
 *
 *   <class>:of:<account>  its waiting jobs, sorted as in the class
 *   <class>:callers       accounts, sorted by how many jobs wait
 *
 * Redis may evict any of them alone: a missing one counts as empty, and the others still work.
 * Times are microseconds of Redis' own clock.
 */
export const places = `
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

local function live(key, ms)
  if redis.call('PTTL', key) < ms then redis.call('PEXPIRE', key, whole(ms)) end
end

local day = 86400000

-- Returns how many jobs of an account wait in a place, without those whose leaving it missed.
local function count(place, account)
  local of, callers = places[place] .. ':of:' .. account, places[place] .. ':callers'
  for _ = 1, 20 do
    local head = redis.call('ZRANGE', of, 0, 0)[1]
    if not head or redis.call('ZSCORE', places[place], head) then break end
    redis.call('ZREM', of, head)
    redis.call('HDEL', work, '@' .. head)
  end
  local jobs = redis.call('ZCARD', of)
  if jobs == 0 then
    redis.call('ZREM', callers, account)
  else
    redis.call('ZADD', callers, jobs, account)
    live(callers, day)
  end
  return jobs
end

local function leave(id)
  local place, units = find(id)
  local account = redis.call('HGET', work, '@' .. id)
  redis.call('ZREM', silent, id)
  for _, key in pairs(places) do redis.call('ZREM', key, id) end
  if account then
    redis.call('HDEL', work, '@' .. id)
    for _, class in ipairs({ 'interactive', 'batch' }) do
      if redis.call('ZREM', places[class] .. ':of:' .. account, id) == 1 then count(class, account) end
    end
  end
  if place then
    redis.call('HDEL', work, id)
    add(place, -units)
  end
end

-- After the clock is set back a job still queues behind earlier ones.
local function enter(id, place, units, ms, account)
  local last = redis.call('ZREVRANGE', places[place], 0, 0, 'WITHSCORES')[2]
  local score = math.max(now, (tonumber(last) or 0) + 1)
  redis.call('ZADD', places[place], whole(score), id)
  redis.call('ZADD', silent, whole(now + ms * 1000), id)
  redis.call('HSET', work, id, place .. ' ' .. string.format('%.17g', units))
  add(place, units)
  if not account then return end
  redis.call('HSET', work, '@' .. id, account)
  redis.call('ZADD', places[place] .. ':of:' .. account, whole(score), id)
  live(places[place] .. ':of:' .. account, math.max(ms, day))
  count(place, account)
  live(places[place] .. ':callers', ms)
end

-- Jobs that are never updated again. Each call removes more than it can add, so that no set grows long.
local function sweep()
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', silent, '-inf', whole(now), 'LIMIT', 0, 10)) do leave(id) end
end

-- A key that became empty was deleted, and has no time to live when it is recreated.
local function keep(ms)
  for index = 1, 5 do live(KEYS[index], math.max(ms, day)) end
end
`
