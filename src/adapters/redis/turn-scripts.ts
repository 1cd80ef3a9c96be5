import { places } from './places.ts'
import { defineScript } from './script.ts'

/** The turns of accounts within a class. */

/**
 * KEYS: waiting interactive, waiting batch, running, work. ARGV: id. Returns nothing, or jobs and units ahead: in its own
 * class, those of its account before it, and of each other account as many as have their turn before it.
 */
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
local all = redis.call('ZCARD', key)
local account = redis.call('HGET', KEYS[4], '@' .. ARGV[1])
local own = account and redis.call('ZRANK', key .. ':of:' .. account, ARGV[1])
if own then
  local turn, callers = own + 1, key .. ':callers'
  local others = turn * redis.call('ZCOUNT', callers, turn, '+inf')
  local few = redis.call('ZRANGEBYSCORE', callers, '-inf', '(' .. turn, 'WITHSCORES')
  for index = 2, #few, 2 do others = others + tonumber(few[index]) end
  others = others - math.min(turn, tonumber(redis.call('ZSCORE', callers, account)) or 0)
  before = math.min(own + others, all - 1)
end
units = units + sum(place) * before / all
return { jobs + before, string.format('%.17g', units) }
`)

/**
 * KEYS[6] lanes of the class: account -> "<lane> <when it was last asked for>". ARGV: account, class, number of lanes.
 * Returns the lane. An account that asked within ten seconds counts as waiting: its job may not be published yet.
 */
export const laneScript = defineScript(`${places}
local name, class, lanes = ARGV[1], ARGV[2], tonumber(ARGV[3])
local last, few, grace = lanes - 1, 4, 10 * 1000000

local function read(entry)
  local lane, at = string.match(entry or '', '^(%d+) (%d+)$')
  if not lane or tonumber(lane) > last then return nil end
  return tonumber(lane), now - tonumber(at) < grace
end

local waiting = count(class, name)
local lane, fresh = read(redis.call('HGET', KEYS[6], name))
local many = waiting >= few and last > 0
if not lane or not (fresh or waiting > 0) or (lane == last and many) then
  local callers, counts = places[class] .. ':callers', {}
  -- one whose jobs left unseen does not ask again, so each time another is looked at
  local size = redis.call('ZCARD', callers)
  if size > 0 then count(class, redis.call('ZRANGE', callers, now % size, now % size)[1]) end
  local entries = redis.call('ZRANGE', callers, 0, -1, 'WITHSCORES')
  for index = 1, #entries, 2 do counts[entries[index]] = tonumber(entries[index + 1]) end
  local loads = {}
  for index = 0, last do loads[index] = 0 end
  entries = redis.call('HGETALL', KEYS[6])
  for index = 1, #entries, 2 do
    local other = entries[index]
    local its, recent = read(entries[index + 1])
    local jobs = counts[other] or (recent and 1 or 0)
    if jobs == 0 or not its then
      redis.call('HDEL', KEYS[6], other)
    elseif other ~= name then
      loads[its] = loads[its] + jobs
    end
  end
  lane = 0
  for index = 1, many and last - 1 or last do
    if loads[index] < loads[lane] then lane = index end
  end
end
redis.call('HSET', KEYS[6], name, lane .. ' ' .. whole(now))
live(KEYS[6], 7 * day)
keep(0)
return lane
`)
