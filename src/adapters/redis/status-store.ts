import { type JobState, type JobStatus, keptOf, statusRank, type Task } from '../../jobs/job.ts'
import { bestEffort, type Log } from '../../jobs/log.ts'
import type { Backlog, ListPlace, StatusStore } from '../../jobs/ports.ts'
import { cancelKeptMs, keptAfterExpiryMs, workerSilenceMs } from '../../jobs/status-times.ts'
import { unitsOf } from '../../jobs/work.ts'
import type { Redis } from './connection.ts'
import type { Reply } from './dial.ts'
import { redisShelves } from './shelves.ts'
import { stateFields, texts, toState } from './state.ts'
import {
  advanceScript,
  backlogScript,
  createScript,
  heartbeatScript,
  listScript,
  loadScript,
  reserveScript,
} from './status-scripts.ts'
import { aheadScript, laneScript } from './turn-scripts.ts'

/** Longer than the longest pause before an event, and with it a final status, is written again. */
const doubtMs = 90_000
/** After our own connection failed: time for others to mark in Redis what they could not write. */
const ownDoubtMs = 5000
const tellDoubtMs = 500
/** A running job without an update for this long is not counted as work; it may still finish. */
const runSilenceMs = 15 * 60_000

/** After this long a job no longer counts among those of its account: its end may never have been written. */
const longestHeldMs = 6 * 3_600_000

/** Jobs of one account that are listed. */
const mostListed = 1000
const listChunk = 100

/**
 * States are hashes that expire by themselves; the unfinished jobs are also in sorted sets (see
 * `places.ts`). Times to live count from the write, by Redis' clock. A poll (`get`, then `ahead` and
 * `load` at once) is two round trips of five commands. `close` leaves the connection to its owner.
 *
 * A process that failed to record a job's end sets a marker once Redis is back; until it expires, every server treats
 * unfinished states as doubtful.
 */
export function redisStatusStore(
  redis: Redis,
  { namespace, log }: { readonly namespace: string; readonly log: Log },
): StatusStore {
  const key = (name: string) => `${namespace}:${name}`
  const [interactive, batch, running] = [key('waiting:interactive'), key('waiting:batch'), key('running')]
  const work = key('work')
  const jobs = [interactive, batch, running, key('until'), work]
  const workers = [key('workers'), key('speeds')]
  const state = (id: string) => key(`job:${id}`)
  const cancel = (id: string) => key(`cancel:${id}`)
  const doubt = key('doubt')
  const held = key('held:')
  const listOf = (account: string) => key(`list:${account}`)
  let [doubted, closed] = [false, false]
  let telling: NodeJS.Timeout | undefined

  const tellDoubt = () => {
    clearTimeout(telling)
    redis.command('SET', doubt, '1', 'PX', String(doubtMs)).catch((err: unknown) => {
      log.debug({ err }, 'the statuses cannot be marked as doubtful; retrying')
      if (!closed) telling = setTimeout(tellDoubt, tellDoubtMs).unref()
    })
  }

  const get = async (id: string) => {
    const [values, marks, doubts] = await Promise.all([
      redis.command('HMGET', state(id), ...stateFields),
      redis.command('EXISTS', cancel(id)),
      redis.command('EXISTS', doubt),
    ])
    doubted = doubts === 1
    return toState(id, values, marks === 1)
  }

  const enlist = async ({ id, account, caller, created_at }: Task, keptMs: number) => {
    if (caller === undefined || account === undefined) return
    const args = [id, ...[Date.parse(created_at), mostListed, keptMs].map(String)]
    await redis.script(listScript, [listOf(account)], args)
  }

  return {
    async create(task) {
      const { id, request, priority = 'interactive', created_at, expires_at, account } = task
      const kept = keptOf(task)
      const units = unitsOf(task)
      const lifeMs = Math.max(0, Date.parse(expires_at) - Date.parse(created_at))
      const times = [lifeMs, lifeMs + keptAfterExpiryMs].map(String)
      const first = ['request', JSON.stringify(request), 'created_at', created_at, 'expires_at', expires_at]
      const owned = [
        ...(Object.keys(kept).length === 0 ? [] : ['kept', JSON.stringify(kept)]),
        ...(account === undefined ? [] : ['account', account]),
        ...(priority === 'batch' ? ['class', priority] : []),
      ]
      const args = [id, priority, String(units), ...times, account ?? '', ...first, ...owned]
      const creating = redis.script(createScript, [...jobs, state(id)], args)
      // a job that is missing in the list is still there
      const listing = bestEffort(
        log,
        'adding a job to the list of its caller',
        enlist(task, lifeMs + keptAfterExpiryMs),
      )
      const isNew = (await creating) === 1
      await listing
      const standing = isNew ? undefined : await get(id)
      if (standing !== undefined) return standing
      return {
        id,
        status: 'queued',
        request,
        created_at,
        expires_at,
        units,
        ...(priority === 'batch' ? { priority } : {}),
        ...kept,
        ...(account === undefined ? {} : { account }),
      }
    },
    async reserve({ id, account, units }, most) {
      const limits = [most.jobs ?? 1e15, most.units ?? 1e15, longestHeldMs]
      const reply = await redis.script(
        reserveScript,
        [held + account],
        [id, ...[units, ...limits].map(String)],
      )
      return Array.isArray(reply) ? { jobs: Number(reply[0]), units: Number(reply[1]) } : undefined
    },
    async release({ id, account }) {
      await redis.command('HDEL', held + account, id)
    },
    async lane(account, priority, lanes) {
      const args = [account, priority, String(lanes)]
      return Number(await redis.script(laneScript, [...jobs, key(`lanes:${priority}`)], args))
    },
    get,
    async advance(id, { status, progress, preview, started_at, error }) {
      const changed = [
        ...(progress === undefined ? [] : ['step', String(progress.step), 'steps', String(progress.steps)]),
        ...(preview === undefined ? [] : ['preview', String(preview)]),
        ...(started_at === undefined ? [] : ['started_at', started_at]),
        ...(error === undefined ? [] : ['error', JSON.stringify(error)]),
      ]
      const args = [id, status, String(statusRank[status]), String(runSilenceMs), held, ...changed]
      try {
        await redis.script(advanceScript, [...jobs, state(id)], args)
      } catch (thrown) {
        // A full Redis still deletes. Without a state the job is what its manifest says; with the old one it would
        // still be shown as running.
        if (isFinal(status)) {
          await bestEffort(log, 'deleting a status that is out of date', redis.command('DEL', state(id)))
          tellDoubt()
        }
        throw thrown
      }
    },
    doubtful: () => doubted || performance.now() - redis.faultAt() < ownDoubtMs,
    async unfinished(most) {
      const places = [running, interactive, batch].map((place) =>
        redis.command('ZRANGE', place, '0', String(most - 1)),
      )
      const ids = (await Promise.all(places)).flatMap((reply) => texts(reply).flatMap((id) => id ?? []))
      const states: JobState[] = []
      for (const id of ids.slice(0, most)) {
        const found = await get(id)
        if (found !== undefined) states.push(found)
      }
      return states
    },
    async list(account, { statuses, after, most }) {
      const states: JobState[] = []
      const from = after === undefined ? '+inf' : String(after.at)
      const reply = await redis.command('ZREVRANGEBYSCORE', listOf(account), from, '-inf', 'WITHSCORES')
      const places = placesOf(reply).filter(({ at, id }) => !after || at < after.at || id < after.id)
      for (let start = 0; start < places.length; start += listChunk) {
        const chunk = places.slice(start, start + listChunk)
        const found = await Promise.all(
          chunk.map(({ id }) => redis.command('HMGET', state(id), ...stateFields)),
        )
        for (const [index, next] of chunk.entries()) {
          const each = toState(next.id, found[index] ?? null, false)
          if (each === undefined || Date.parse(each.expires_at) <= Date.now()) continue
          if (statuses === undefined || statuses.includes(each.status)) states.push(each)
          if (states.length === most) return { states, next }
        }
      }
      return { states }
    },
    async forget(id) {
      await redis.command('DEL', state(id))
    },
    async requestCancel(id) {
      await redis.command('SET', cancel(id), '1', 'PX', String(cancelKeptMs))
    },
    async ahead(id) {
      const reply = await redis.script(aheadScript, [interactive, batch, running, work], [id])
      return Array.isArray(reply) ? { jobs: Number(reply[0]), units: Number(reply[1]) } : undefined
    },
    async heartbeat(worker, secondsPerUnit) {
      const speed = secondsPerUnit === undefined ? '' : String(secondsPerUnit)
      await redis.script(heartbeatScript, [...jobs, ...workers], [worker, speed])
    },
    async load() {
      const reply = await redis.script(loadScript, workers, [String(workerSilenceMs)])
      const [alive, values] = Array.isArray(reply) ? (reply as Reply[]) : []
      const speeds = texts(values).flatMap((text) => (text === undefined ? [] : Number(text)))
      const sum = speeds.reduce((total, each) => total + each, 0)
      return {
        workers: Number(alive ?? 0),
        secondsPerUnit: speeds.length === 0 ? undefined : sum / speeds.length,
      }
    },
    async backlog() {
      const reply = await redis.script(backlogScript, [interactive, batch, running, work], [state('')])
      const [first, second] = Array.isArray(reply) ? reply.map(backlogOf) : []
      return { interactive: first ?? backlogOf(null), batch: second ?? backlogOf(null) }
    },
    async turn(name, forMs) {
      return (await redis.command('SET', key(`turn:${name}`), '1', 'PX', String(forMs), 'NX')) === 'OK'
    },
    async note(name, text, seconds) {
      await redis.command('SET', key(`note:${name}`), text, 'PX', String(Math.ceil(seconds * 1000)))
    },
    async noted(name) {
      const reply = await redis.command('GET', key(`note:${name}`))
      return typeof reply === 'string' ? reply : undefined
    },
    ...redisShelves(redis, key),
    /** Every key expires by itself. */
    async sweep() {},
    async close() {
      closed = true
      clearTimeout(telling)
    },
  }
}

function backlogOf(reply: Reply): Backlog {
  const [jobs = 0, units = 0, oldestSeconds = 0, running = 0] = Array.isArray(reply) ? reply.map(Number) : []
  return { jobs, running, units, oldestSeconds }
}

/** Of a reply with ids and scores in turn. */
function placesOf(reply: Reply): ListPlace[] {
  const values = texts(reply)
  return values.flatMap((id, index) =>
    index % 2 === 0 && id !== undefined ? [{ id, at: Number(values[index + 1]) }] : [],
  )
}

function isFinal(status: JobStatus): boolean {
  return statusRank[status] > statusRank.running
}
