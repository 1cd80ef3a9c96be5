import { randomOf } from '../../test/kit/random.ts'

/** A day of uneven load, made from a seed: the same seed gives the same jobs. */
export interface SimulatedJob {
  readonly priority: 'interactive' | 'batch'
  /** When it is accepted, in seconds from midnight. */
  readonly at: number
  /** How long one worker takes for it. */
  readonly seconds: number
  /** How long the servers expect it to take, from its units and the speed of the workers. */
  readonly predicted: number
}

const hour = 3600

/** Share and seconds of the jobs of people: a draft, a picture, four pictures, four large ones. */
interface Kind {
  readonly share: number
  readonly seconds: number
}
const mixed: readonly Kind[] = [
  { share: 0.5, seconds: 2 },
  { share: 0.35, seconds: 12 },
  { share: 0.12, seconds: 60 },
  { share: 0.03, seconds: 240 },
]
const drafts: readonly Kind[] = [{ share: 1, seconds: 2 }]
const large: readonly Kind[] = [
  { share: 0.5, seconds: 60 },
  { share: 0.5, seconds: 240 },
]

/** Jobs per minute of people, by the hour. */
const usual = [0, 0, 0, 0, 0, 0, 0.5, 1, 2, 4, 5, 5, 3, 4, 6, 6, 5, 4, 2, 1.5, 1, 0.5, 0.2, 0]

/** A demonstration to an audience that tries words; a photographer who makes the pictures of a season. */
const bursts = [
  { at: 9.2 * hour, minutes: 10, perMinute: 45, kinds: drafts },
  { at: 11.5 * hour, minutes: 10, perMinute: 4, kinds: large },
  { at: 14.4 * hour, minutes: 6, perMinute: 55, kinds: drafts },
  { at: 16.2 * hour, minutes: 15, perMinute: 3, kinds: large },
  { at: 19.7 * hour, minutes: 8, perMinute: 20, kinds: mixed },
]

/** Catalogue runs: drafts of everything in the evening, and the pictures that were chosen, at night. */
const catalogues = [
  { at: 1 * hour, jobs: 150, seconds: 240 },
  { at: 22.5 * hour, jobs: 900, seconds: 2 },
]

/** The jobs of a day in order of time. Predictions are off by a factor that is between 0.7 and 1.4 for two of three jobs. */
export function dayOfJobs(seed: number): SimulatedJob[] {
  const random = randomOf(seed)
  const jobs: SimulatedJob[] = []
  const add = (priority: SimulatedJob['priority'], at: number, usualSeconds: number) => {
    // no two jobs of a kind take the same time
    const seconds = usualSeconds * (0.8 + 0.4 * random())
    const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
    jobs.push({ priority, at, seconds, predicted: seconds * Math.exp(0.35 * normal) })
  }
  for (let second = 0; second < 24 * hour; second += 1) {
    // at most one in each second of each stream: close to a Poisson process at these rates
    if (random() < (usual[Math.floor(second / hour)] ?? 0) / 60) {
      add('interactive', second, secondsOf(mixed, random()))
    }
    for (const { at, minutes, perMinute, kinds } of bursts) {
      if (second < at || second >= at + minutes * 60 || random() >= perMinute / 60) continue
      add('interactive', second, secondsOf(kinds, random()))
    }
  }
  for (const { at, jobs: count, seconds } of catalogues) {
    for (let n = 0; n < count; n += 1) add('batch', at, seconds)
  }
  return jobs.sort((a, b) => a.at - b.at)
}

function secondsOf(kinds: readonly Kind[], number: number): number {
  let below = 0
  for (const { share, seconds } of kinds) {
    below += share
    if (number < below) return seconds
  }
  return kinds.at(-1)?.seconds ?? 1
}
