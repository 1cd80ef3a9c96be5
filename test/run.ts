import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { globSync } from 'node:fs'
import { availableParallelism, constants, cpus } from 'node:os'
import { join, matchesGlob } from 'node:path'
import { spec } from 'node:test/reporters'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { ownCleanup } from './cleanup.ts'
import { groups, longest } from './groups.ts'
import { bundles } from './kit/bundles.ts'
import { type Counts, noCounts, runFile, sumOf } from './kit/run-file.ts'
import { provideEnvironment } from './services/provide.ts'

/**
 * `node test/run.ts [--quick] [WORD...]`: types, lint and unused code, and beside them all tests by their groups, over
 * services that are started once. Words choose groups by their name and files by a part of their path, without the
 * checks. Ends with status 1 when something failed, or a group had no test.
 */

const root = join(import.meta.dirname, '..')

interface Job {
  readonly group: string
  readonly name: string
  readonly share: number
  readonly services: boolean
  run(signal: AbortSignal): Promise<Counts>
}

interface Done extends Pick<Job, 'group' | 'name'> {
  readonly counts: Counts
  /** On the clock of `performance.now()`. */
  readonly from: number
  readonly to: number
}

const { values, positionals } = parseArgs({ options: { quick: { type: 'boolean' } }, allowPositionals: true })
const reporter = new spec()

function testJobs(): Job[] {
  const left = new Set(globSync(['src/**/*.test.ts', 'test/**/*.test.ts'], { cwd: root }).sort())
  const jobs = groups.flatMap((group) => {
    const own = group.files.flatMap((glob) =>
      [...left].filter((file) => matchesGlob(file, glob) && left.delete(file)),
    )
    const isWanted = (file: string) =>
      positionals.length === 0 || positionals.some((word) => group.name === word || file.includes(word))
    const paths = own.filter(isWanted).map((file) => join(root, file))
    if (paths.length === 0 || (values.quick && !group.quick)) return []
    const { name, share, services = false, computes = false } = group
    const job = (title: string, file: string, args: readonly string[] = []): Job => ({
      group: name,
      name: title,
      share,
      services,
      run: (signal) => runFile(file, args, { reporter, signal, computes }),
    })
    if (group.together) {
      const dealt = Object.values(Object.groupBy(paths, (_, index) => index % processesTogether))
      return dealt.map((some = []) => job(`${some.length} files`, join(root, 'test/kit/together.ts'), some))
    }
    return paths.map((path) => job(path.slice(root.length + 1), path))
  })
  const isTogether = ({ group }: Job) => groups.some(({ name, together }) => name === group && together)
  const rank = (job: Job) => {
    if (isTogether(job)) return -1
    const found = longest.findIndex((glob) => matchesGlob(job.name, glob))
    return found === -1 ? longest.length : found
  }
  return jobs.toSorted((a, b) => rank(a) - rank(b))
}

/** Its output is shown when it fails; it counts as no test. */
function checkJob(): Job {
  return {
    group: 'check',
    name: 'npm run check',
    share: 1,
    services: false,
    async run() {
      const child = spawn('npm', ['run', '--silent', 'check'], {
        cwd: root,
        stdio: ['ignore', 'pipe', 'pipe'],
      })
      let text = ''
      for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (text += chunk))
      const [status] = await once(child, 'close')
      if (status === 0) return noCounts
      console.log(`npm run check failed:\n${text}`)
      return { ...noCounts, failed: 1 }
    },
  }
}

/** As many processes share the files of a group that runs `together`: a part of each file is waiting. */
const processesTogether = 8

/** More at once would want the memory of many brokers and storages. */
const mostCores = 6

/** What waits does so at the same time as others now and then. */
const idleMachine = { lookMs: 700, share: 0.08, mostJobs: 16 }

/** Answers what part of the processors was idle since it was last asked. */
function idleMeter(): () => number {
  const read = () => {
    const times = cpus().map((each) => each.times)
    const sum = (of: (each: (typeof times)[number]) => number) =>
      times.reduce((total, each) => total + of(each), 0)
    return {
      idle: sum(({ idle }) => idle),
      all: sum(({ user, nice, sys, idle, irq }) => user + nice + sys + idle + irq),
    }
  }
  let last = read()
  return () => {
    const now = read()
    const share = (now.idle - last.idle) / Math.max(1, now.all - last.all)
    last = now
    return share
  }
}

/**
 * Starts the jobs in their order as soon as there is room, at most a core's worth of them for each core. While the machine is idle
 * all the same, one more of those that keep it busiest.
 */
async function runAll(jobs: readonly Job[], ready: Promise<unknown>, signal: AbortSignal): Promise<Done[]> {
  const [waiting, done] = [[...jobs], [] as Done[]]
  const running = new Set<Promise<void>>()
  let room = Math.min(mostCores, availableParallelism())
  let isReady = false
  const services = ready.then(() => {
    isReady = true
  })
  const start = (job: Job): Promise<void> => {
    const from = performance.now()
    room -= job.share
    const isOver = job.run(signal).then((counts) => {
      const { group, name } = job
      done.push({ group, name, counts, from, to: performance.now() })
      room += job.share
      running.delete(isOver)
    })
    running.add(isOver)
    return isOver
  }
  const idleShare = idleMeter()
  let isIdle = false
  while (waiting.length > 0 || running.size > 0) {
    // shares are hundredths: their sums are off by less
    const can = waiting.filter(({ services: needs }) => isReady || !needs)
    const fitting = can.find(({ share }) => share < room + 0.02)
    const busiest = isIdle ? can.toSorted((a, b) => b.share - a.share)[0] : undefined
    isIdle = false
    const next = waiting.indexOf((fitting ?? busiest) as Job)
    const [job] = next === -1 || signal.aborted ? [] : waiting.splice(next, 1)
    if (job !== undefined) start(job)
    else if (signal.aborted && running.size === 0) break
    else {
      const looked = new AbortController()
      const look = sleep(idleMachine.lookMs, undefined, { signal: looked.signal }).then(
        () => {
          isIdle = idleShare() > idleMachine.share && running.size < idleMachine.mostJobs
        },
        () => {},
      )
      await Promise.race([...running, ...(isReady ? [] : [services]), look])
      looked.abort()
    }
  }
  return done
}

function summary(done: readonly Done[]): string {
  const seconds = (ms: number) => `${(ms / 1000).toFixed(0)} s`
  const lines = [...Map.groupBy(done, ({ group }) => group)].map(([group, jobs]) => {
    const wall = Math.max(...jobs.map(({ to }) => to)) - Math.min(...jobs.map(({ from }) => from))
    const sum = jobs.reduce((total, { from, to }) => total + to - from, 0)
    const { tests } = sumOf(jobs.map(({ counts }) => counts))
    return `  ${group.padEnd(10)}${seconds(wall)} from first to last, ${seconds(sum)} in all, ${tests} tests`
  })
  const slowest = done.toSorted((a, b) => b.to - b.from - (a.to - a.from)).slice(0, 10)
  return [
    'How long each group took:',
    ...lines,
    'The slowest files:',
    ...slowest.map(({ name, from, to }) => `  ${seconds(to - from).padEnd(8)}${name}`),
  ].join('\n')
}

/** As the test runner of Node closes its report. */
function closing(counts: Counts, ms: number): string {
  const { tests, suites, passed, failed, cancelled, skipped, todo } = counts
  const named = { tests, suites, pass: passed, fail: failed, cancelled, skipped, todo, duration_ms: ms }
  const lines = Object.entries(named).map(([name, value]) => `ℹ ${name} ${value}`)
  return [...lines, `${passed} passed, ${failed + cancelled} failed, ${skipped} skipped`].join('\n')
}

async function main(): Promise<number> {
  const began = performance.now()
  // inherited by all that is started here
  process.env.NODE_COMPILE_CACHE ??= join(root, 'node_modules/.cache/v8')
  // esbuild and tsc take a quarter less of the processor if they never collect garbage, and 10 % more memory
  process.env.GOGC ??= 'off'
  const stop = new AbortController()
  let status: number | undefined
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.on(name, () => {
      status = 128 + constants.signals[name]
      stop.abort()
    })
  }
  const tests = testJobs()
  if (tests.length === 0)
    throw new Error(`no test file has one of these in its path: ${positionals.join(' ')}`)
  const isWhole = positionals.length === 0
  const jobs = [...(isWhole && !values.quick ? [checkJob()] : []), ...tests]
  const cleanup = ownCleanup()
  try {
    const ready = tests.some(({ services }) => services) ? provideEnvironment(cleanup) : Promise.resolve({})
    // it is awaited later
    ready.catch(() => {})
    process.env.TEST_BUNDLES ??= await bundles()
    reporter.pipe(process.stdout)
    const done = await runAll(
      jobs,
      ready.then((env) => Object.assign(process.env, env)),
      stop.signal,
    )
    await new Promise<void>((resolve) => reporter.once('end', resolve).end())
    const counts = sumOf(done.map((each) => each.counts))
    console.log(`${summary(done)}\n${closing(counts, performance.now() - began)}`)
    const empty = [...Map.groupBy(done, ({ group }) => group)].filter(
      ([group, all]) => group !== 'check' && sumOf(all.map((each) => each.counts)).tests === 0,
    )
    for (const [group] of empty) console.log(`The group ${group} ran no test.`)
    return status ?? (counts.failed + counts.cancelled + empty.length > 0 ? 1 : 0)
  } catch (error) {
    stop.abort()
    throw error
  } finally {
    await cleanup.end()
  }
}

// what a hung file left behind may hold its end of a pipe
try {
  process.exit(await main())
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exit(1)
}
