import { setTimeout as sleep } from 'node:timers/promises'
import type { Manifest } from '../../src/jobs/job.ts'
import { readExposition } from '../kit/exposition.ts'
import type { Member } from './members.ts'

/**
 * What the fleet counts against what the checker counts. A process that is killed takes along what it counted since it was
 * last asked; so each is asked about once a second, and what is compared are bounds that hold: nothing is counted that did
 * not happen, and what happened is counted unless it happened in a process that died between two scrapes, by the
 * times of its own log lines.
 */

/** One scrape; the text may be a second old. */
interface Scrape {
  /** In milliseconds since 1970. */
  readonly at: number
  /** When the process began that counts: another one begins at 0. */
  readonly life: number
  readonly counts: Readonly<Record<string, number>>
}

interface Track {
  readonly member: Member
  last: Scrape
  /** What lives before the last one had counted when they were last asked. */
  readonly ended: Record<string, number>
  /** From before the last scrape of a life to after the first of the next. */
  readonly gaps: { readonly from: number; readonly to: number }[]
}

export interface Counted {
  /** What was seen of each counter. */
  readonly counts: Readonly<Record<string, number>>
  /** Log lines of each event in a process that died before it was asked again. */
  readonly missed: Readonly<Record<string, number>>
  readonly deaths: number
  readonly scrapes: number
}

export interface Recorder {
  /** Asks everybody for the last time: all must be ready. */
  stop(): Promise<Counted>
}

const everyMs = 1000
/** A text is kept for a second. */
const oldMs = 1500

const statuses = ['succeeded', 'failed', 'canceled'] as const

/** All members must be ready. */
export async function recordMetrics(members: readonly Member[]): Promise<Recorder> {
  const tracks: Track[] = await Promise.all(
    members.map(async (member) => ({ member, last: await patiently(member), ended: {}, gaps: [] })),
  )
  let [over, scrapes] = [false, 0]
  const look = async (track: Track, again?: Scrape) => {
    const next = again ?? (await scrapeOf(track.member))
    if (next === undefined) return
    scrapes += 1
    const { last, ended, gaps } = track
    if (next.life !== last.life) {
      gaps.push({ from: last.at - oldMs, to: next.at })
      for (const [name, count] of Object.entries(last.counts)) ended[name] = (ended[name] ?? 0) + count
    }
    track.last = next
  }
  const running = tracks.map(async (track) => {
    while (!over) {
      await look(track)
      await sleep(everyMs)
    }
  })
  return {
    async stop() {
      over = true
      await Promise.all(running)
      // a text from before the last event would still be told
      await sleep(oldMs)
      for (const track of tracks) await look(track, await patiently(track.member))
      const counts: Record<string, number> = {}
      for (const { last, ended } of tracks) {
        for (const each of [last.counts, ended]) {
          for (const [name, count] of Object.entries(each)) counts[name] = (counts[name] ?? 0) + count
        }
      }
      return { counts, missed: missedIn(tracks), deaths: tracks.flatMap(({ gaps }) => gaps).length, scrapes }
    },
  }
}

async function patiently(member: Member): Promise<Scrape> {
  for (;;) {
    await member.ready()
    const found = await scrapeOf(member)
    if (found !== undefined) return found
    await sleep(200)
  }
}

/** Undefined if it does not answer, or tells of a worker that has not begun. */
async function scrapeOf(member: Member): Promise<Scrape | undefined> {
  const address = member.metrics()
  const at = Date.now()
  if (address === undefined) return undefined
  let text: string
  try {
    text = await (await fetch(address, { signal: AbortSignal.timeout(5000) })).text()
  } catch {
    return undefined
  }
  const { value } = readExposition(text)
  const life = value('process_start_time_seconds')
  if (life === undefined) return undefined
  const finished = statuses.map((status) => [status, value('packshot_jobs_finished_total', { status }) ?? 0])
  return {
    at,
    life,
    counts: { ...Object.fromEntries(finished), accepted: value('packshot_jobs_accepted_total') ?? 0 },
  }
}

function missedIn(tracks: readonly Track[]): Record<string, number> {
  const missed: Record<string, number> = {}
  for (const { member, gaps } of tracks) {
    if (gaps.length === 0) continue
    for (const line of member.outputs().flatMap((output) => output.split('\n'))) {
      const event = eventIn(line)
      if (event === undefined || !gaps.some(({ from, to }) => event.at >= from && event.at <= to)) continue
      missed[event.name] = (missed[event.name] ?? 0) + 1
    }
  }
  return missed
}

function eventIn(line: string): { at: number; name: string } | undefined {
  if (!/"msg":"job (accepted|is final|canceled)/.test(line)) return undefined
  const { time, msg, status } = JSON.parse(line) as { time: number; msg: string; status?: string }
  return { at: time, name: msg === 'job accepted' ? 'accepted' : (status ?? 'canceled') }
}

/** Compares what was counted with what the storage has and what the processes printed; returns what does not match. */
export function metricsFaults(
  { counts, missed, deaths }: Counted,
  manifests: ReadonlyMap<string, Manifest>,
  printed: { readonly accepted: number },
): string[] {
  const faults: string[] = []
  const check = (name: string, truth: number, unseen: number) => {
    const counted = counts[name] ?? 0
    if (counted > truth) faults.push(`${name} was counted ${counted} times, and happened ${truth} times`)
    if (counted + unseen < truth) {
      faults.push(`${name} was counted ${counted} times and happened ${truth} times; ${unseen} may be missed`)
    }
  }
  for (const status of statuses) {
    const truth = [...manifests.values()].filter((manifest) => manifest.status === status).length
    // a worker may die between the commit of its one job and the line about it
    check(status, truth, (missed[status] ?? 0) + deaths)
  }
  check('accepted', printed.accepted, missed.accepted ?? 0)
  return faults
}
