import { dayOfJobs, type SimulatedJob } from './autoscale/load.ts'
import { shipped } from './autoscale/settings.ts'
import { type Outcome, percentile, type Settings, simulate } from './autoscale/simulation.ts'

/**
 * How long jobs wait and what workers cost over a day of uneven load, when workers are scaled on predicted seconds of work
 * and when they are scaled on the number of messages, with all other settings equal (those of
 * deploy/kubernetes/components/keda). A simulation: it measures nothing on this machine, and a seed gives one result.
 *
 *   node bench/autoscale.ts [SEED]      (npm run bench:autoscale; default 1)
 */
const seed = Number(process.argv[2] ?? 1)
const jobs = dayOfJobs(seed)
const hour = 3600

const work = jobs.reduce((sum, { seconds }) => sum + seconds, 0)
const people = jobs.filter(({ priority }) => priority === 'interactive')
console.log(
  `${jobs.length} jobs (${people.length} of people), ${(work / hour).toFixed(1)} hours of work of one worker, ` +
    `${(work / jobs.length).toFixed(1)} s each on average; seed ${seed}`,
)

console.log('\nEqual settings, different metrics and thresholds\n')
head()
for (const threshold of [30, 60, 120, 240, 480]) row(`work, ${threshold} s`, { threshold })
for (const threshold of [1, 2, 4, 8, 16]) row(`messages, ${threshold}`, { metric: 'messages', threshold })
for (const threshold of [30, 120, 480]) row(`plain work, ${threshold} s`, { metric: 'plain work', threshold })
row('always 16 workers', { always: true })

console.log(
  '\nThe same thresholds when every job takes three times as long (a larger model), and up to 48 workers\n',
)
const slower = jobs.map((job) => ({
  ...job,
  seconds: job.seconds * 3,
  predicted: job.predicted * 3,
}))
head()
for (const threshold of [60, 120, 240]) row(`work, ${threshold} s`, { threshold, maxReplicas: 48 }, slower)
for (const threshold of [2, 4, 8])
  row(`messages, ${threshold}`, { metric: 'messages', threshold, maxReplicas: 48 }, slower)

console.log('\nWhat a start costs: the same with 20, 60 and 300 s until a worker is ready\n')
head()
for (const startSeconds of [20, 60, 300]) {
  row(`work, 120 s, start ${startSeconds} s`, { startSeconds })
  row(`messages, 4, start ${startSeconds} s`, { metric: 'messages', threshold: 4, startSeconds })
}

console.log('\nThe metric cannot be read from 14:00 to 16:00\n')
const outage = [14 * hour, 16 * hour] as const
head()
row('fallback 2', { outage, fallback: 2 })
row('fallback 4', { outage })
row('absent counts as zero', { outage, fallback: undefined })

console.log('\nOne job of 25 minutes at night, and nothing else\n')
const long: SimulatedJob[] = [{ priority: 'batch', at: 3 * hour, seconds: 1500, predicted: 1500 }]
head()
row('work', {}, long)
row('plain work', { metric: 'plain work' }, long)
row('waiting messages, may finish', { metric: 'waiting', threshold: 1 }, long)
row('waiting messages, 30 s to stop', { metric: 'waiting', threshold: 1, graceSeconds: 30 }, long)

function head(): void {
  const columns = ['p50', 'p95', 'p99', 'batch p95', 'worker h', 'most', 'cut off', 'lost h']
  console.log(`${'wait of people in s'.padEnd(34)}${columns.map((name) => name.padStart(10)).join('')}`)
}

function row(name: string, change: Partial<Settings> & { always?: boolean }, of = jobs): void {
  const { always, ...settings } = change
  const outcome = simulate(of, {
    ...shipped,
    ...settings,
    ...(always && { threshold: 1e-9, cooldownSeconds: 1e9, stabilisationSeconds: 1e9 }),
  })
  const cells = [
    ...[0.5, 0.95, 0.99].map((share) => shown(waitsOf(outcome, of, 'interactive'), share)),
    shown(waitsOf(outcome, of, 'batch'), 0.95),
    (outcome.workerSeconds / hour).toFixed(1),
    String(outcome.mostWorkers),
    String(outcome.cutOff),
    (outcome.lostSeconds / hour).toFixed(1),
  ]
  const rest = outcome.finished.filter((times) => times === 0).length
  const never = rest === 0 ? '' : `   ${rest} never done`
  console.log(`${name.padEnd(34)}${cells.map((cell) => cell.padStart(10)).join('')}${never}`)
}

function waitsOf({ waits }: Outcome, of: readonly SimulatedJob[], priority: string): number[] {
  return waits.filter((_, index) => of[index]?.priority === priority)
}

function shown(waits: readonly number[], share: number): string {
  const wait = percentile(waits, share)
  return Number.isFinite(wait) ? String(Math.round(wait)) : '-'
}
