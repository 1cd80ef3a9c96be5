import { cpus } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { isFinal, type JobView } from '../src/jobs/serving/job-view.ts'
import { prepareFleet } from '../test/fleet/fleet.ts'
import { type ServerProcess, submit, untilFinal, view } from '../test/service/server-process.ts'
import { whileServicesRun } from './services.ts'

/**
 * How throughput grows with workers: with an engine that takes 200 ms per picture and no CPU, so that it measures the
 * path of a job through broker, storage and worker. Figures are ratios within this run: the rate with N workers over N
 * times the rate with one. Everything shares this machine; its load is printed beside each ratio, because here it
 * limits the ratio, which it would not in a real fleet.
 *
 *   node bench/scale.ts [WORKERS...]      (npm run bench:scale; default 1 2 4 8)
 *
 * Variables of traces, reports and metrics (`OTEL_...`, `SENTRY_...`, `PACKSHOT_METRICS_PORT=0`) are passed on: with and without
 * them, their cost is measured.
 */
const jobsPerWorker = 200
const given = process.argv.slice(2).map(Number)
const observed = Object.fromEntries(
  Object.entries(process.env).flatMap(([name, value]) =>
    /^(OTEL|SENTRY)_|^PACKSHOT_METRICS_PORT$/.test(name) ? [[name, value ?? '']] : [],
  ),
)
const counts = given.length === 0 ? [1, 2, 4, 8] : given

await whileServicesRun(async (t, services) => {
  let single: number | undefined
  console.log('workers   jobs/s   of linear   machine busy   jobs out of order')
  for (const count of counts) {
    const fleet = await prepareFleet(t, services, {
      PACKSHOT_LOG_LEVEL: 'silent',
      PACKSHOT_QUEUE_MAX: '10000',
      ...observed,
    })
    const server = fleet.server(fleet.direct)
    const address = await server.address
    const ids: string[] = []
    while (ids.length < count * jobsPerWorker) {
      ids.push((await submit(address, { prompt: '200ms', steps: 1 })).id)
    }
    const workers: ServerProcess[] = []
    for (let n = 0; n < count; n += 1) workers.push(fleet.worker(fleet.direct))
    await Promise.all(workers.map((worker) => worker.address))
    const allReady = Date.now()
    const before = processorTimes()
    const last = ids.at(-1) as string
    while (!isFinal(await view(address, last))) await sleep(500)
    const after = processorTimes()
    const busy = 1 - (after.idle - before.idle) / (after.all - before.all)
    const jobs = await Promise.all(ids.map((id) => untilFinal(address, id)))
    if (jobs.some((job) => job.status !== 'succeeded')) throw new Error('a job did not succeed')
    const finished = jobs.map((job) => Date.parse(job.finished_at ?? ''))
    const rate = rateOf(
      finished.filter((time) => time > allReady),
      count,
    )
    single ??= rate / count
    const share = rate / count / single
    console.log(
      `${String(count).padStart(7)}   ${rate.toFixed(2).padStart(6)}   ${share.toFixed(3).padStart(9)}   ${busy.toFixed(2).padStart(12)}   ${outOfOrder(jobs)}`,
    )
    for (const { process: child } of [...workers, server]) child.kill('SIGTERM')
    await Promise.all([...workers, server].map(({ ended }) => ended))
  }
})

/**
 * Jobs per second while every worker was busy: the last ones leave nothing to take. The first half is left out: in it
 * the workers' code warms up, on the cores that the services need.
 */
function rateOf(finished: readonly number[], workers: number): number {
  const times = finished.toSorted((a, b) => a - b).slice(Math.floor(finished.length / 2), -workers)
  const [first = 0, last = 0] = [times[0], times.at(-1)]
  return ((times.length - 1) / (last - first)) * 1000
}

/** Over all processors; time that a hypervisor gives to others counts as neither. */
function processorTimes(): { idle: number; all: number } {
  const times = cpus().map(({ times }) => times)
  const idle = times.reduce((sum, each) => sum + each.idle, 0)
  return { idle, all: times.reduce((sum, { user, nice, sys, irq }) => sum + user + nice + sys + irq, idle) }
}

/** Jobs that started before a job accepted earlier, by more than workers need for the first steps of a job. */
function outOfOrder(jobs: readonly JobView[]): number {
  const started = jobs.map((job) => Date.parse(job.started_at ?? ''))
  const slackMs = 100
  return started.filter((time, n) => started.slice(0, n).some((earlier) => earlier > time + slackMs)).length
}
