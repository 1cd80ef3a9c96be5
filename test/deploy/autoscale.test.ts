import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import type { IScaledObject } from '@kubernetes-models/keda/keda.sh/v1alpha1/ScaledObject'
import { stringify } from 'yaml'
import { dayOfJobs, type SimulatedJob } from '../../bench/autoscale/load.ts'
import { createScaler } from '../../bench/autoscale/scaler.ts'
import { shipped } from '../../bench/autoscale/settings.ts'
import { percentile, type Settings, simulate } from '../../bench/autoscale/simulation.ts'
import { tempFolder } from '../cleanup.ts'
import { kustomize } from './kustomize.ts'
import { checked, deploy, ensurePrometheus } from './prometheus-tools.ts'

/** The simulation behind docs/scaling.md, and the autoscaler that is shipped. */
const jobs = dayOfJobs(7)
const work = jobs.reduce((sum, { seconds }) => sum + seconds, 0)
const long: readonly SimulatedJob[] = [{ priority: 'batch', at: 600, seconds: 1500, predicted: 1500 }]

/** The ScaledObject of the workers. */
function scaledObject(): IScaledObject['spec'] {
  const folder = deploy('kubernetes')
  const base = kustomize(join(folder, 'base'))
  const { spec } =
    kustomize(join(folder, 'components/keda'), base).find(({ kind }) => kind === 'ScaledObject') ??
    assert.fail()
  return spec as IScaledObject['spec']
}

test('the same seed gives the same day and the same outcome, another seed another day', () => {
  assert.deepEqual(dayOfJobs(7), jobs)
  assert.notDeepEqual(dayOfJobs(8), jobs)
  assert.deepEqual(simulate(jobs, shipped), simulate(jobs, shipped))
})

test('every job is made once and after it came, whatever it is scaled on and whatever is cut off', () => {
  const settings: Partial<Settings>[] = [
    {},
    { metric: 'plain work', threshold: 30 },
    { metric: 'messages', threshold: 4 },
    { metric: 'messages', threshold: 4, graceSeconds: 5, cooldownSeconds: 30, stabilisationSeconds: 0 },
    { outage: [50_000, 60_000] },
    { outage: [50_000, 60_000], fallback: undefined },
  ]
  for (const change of settings) {
    const { finished, waits, workerSeconds, lostSeconds, cutOff } = simulate(jobs, { ...shipped, ...change })
    assert.deepEqual(new Set(finished), new Set([1]), JSON.stringify(change))
    assert.ok(waits.every((wait) => wait >= 0 && Number.isFinite(wait)))
    assert.ok(workerSeconds >= work + lostSeconds, 'work that nobody paid for')
    assert.equal(cutOff > 0, change.graceSeconds === 5)
  }
})

test('a job in work keeps its worker, and one that only waited does not', () => {
  assert.deepEqual(simulate(long, shipped).finished, [1])
  assert.equal(simulate(long, shipped).mostWorkers, 1)
  const plain = simulate(long, { ...shipped, metric: 'plain work' })
  assert.ok(plain.mostWorkers > 10, 'workers that find no job')
  const waiting = { ...shipped, metric: 'waiting', threshold: 1 } as const
  assert.deepEqual(
    [simulate(long, waiting).finished, simulate(long, waiting).cutOff],
    [[1], 0],
    'saved by its grace',
  )
  const killed = simulate(long, { ...waiting, graceSeconds: 30 })
  assert.deepEqual(killed.finished, [0])
  assert.ok(killed.cutOff > 100)
})

test('a threshold keeps its meaning when jobs take longer; a number of messages does not', () => {
  const slower = jobs.map((job) => ({ ...job, seconds: job.seconds * 3, predicted: job.predicted * 3 }))
  const last = (of: readonly SimulatedJob[], change: Partial<Settings>) => {
    const { waits } = simulate(of, { ...shipped, maxReplicas: 60, ...change })
    return percentile(
      waits.filter((_, index) => of[index]?.priority === 'interactive'),
      0.99,
    )
  }
  const messages = { metric: 'messages', threshold: 4 } as const
  assert.ok(last(slower, {}) < 1.25 * last(jobs, {}))
  assert.ok(last(slower, messages) > 2 * last(jobs, messages))
})

test('the scaler: one from zero at the next poll, doubling, a window before it goes down, zero after the cooldown', () => {
  const scaler = createScaler(shipped)
  const at = (seconds: number, value: number | undefined, since: number) => {
    let replicas = 0
    for (let second = since; second < since + seconds; second += 1) replicas = scaler.tick(second, value)
    return replicas
  }
  assert.equal(at(30, 0, 1), 0)
  assert.equal(at(10, 3000, 31), 1)
  assert.equal(at(15, 3000, 41), 5, 'four more in 15 seconds')
  assert.equal(at(15, 3000, 56), 10, 'twice as many')
  assert.equal(at(60, 3000, 71), 16, 'not more than there may be')
  assert.equal(at(280, 0, 131), 16, 'the highest of the window counts')
  assert.equal(at(120, 0, 411), 4, 'half of them in a minute')
  assert.equal(at(80, 0, 531), 2)
  assert.equal(at(600, 0, 611), 0, 'after the cooldown')
  assert.equal(at(20, undefined, 1211), 0)
  assert.equal(at(20, undefined, 1231), shipped.fallback, 'after three failures')
})

test('what is shipped is what was simulated', () => {
  const { triggers, fallback, advanced, ...spec } = scaledObject()
  const [first] = triggers
  assert.deepEqual(
    {
      threshold: Number(first?.metadata.threshold),
      maxReplicas: spec.maxReplicaCount,
      pollingSeconds: spec.pollingInterval,
      cooldownSeconds: spec.cooldownPeriod,
      stabilisationSeconds:
        advanced?.horizontalPodAutoscalerConfig?.behavior?.scaleDown?.stabilizationWindowSeconds,
      fallback: fallback?.replicas,
    },
    {
      threshold: shipped.threshold,
      maxReplicas: shipped.maxReplicas,
      pollingSeconds: shipped.pollingSeconds,
      cooldownSeconds: shipped.cooldownSeconds,
      stabilisationSeconds: shipped.stabilisationSeconds,
      fallback: shipped.fallback,
    },
  )
})

test('docs/scaling.md has what the simulation prints', async () => {
  const root = join(import.meta.dirname, '../..')
  const { stdout } = await promisify(execFile)(process.execPath, [join(root, 'bench/autoscale.ts')])
  const page = readFileSync(join(root, 'docs/scaling.md'), 'utf8')
  const rows = stdout.split('\n').filter((line) => /^\S.* {3}/.test(line))
  assert.ok(rows.length > 30)
  for (const row of rows) assert.ok(page.includes(`\n${row}\n`), `run npm run bench:autoscale: ${row}`)
})

test('its query gives work, at most a threshold for each job, and nothing where there are no metrics', async (t) => {
  await ensurePrometheus()
  const [first] = scaledObject().triggers
  const file = join(tempFolder(t), 'query.yaml')
  const series = (name: string, server: number, priority: string, value: number) => ({
    series: `packshot_queue_${name}{class="${priority}", instance="s${server}", namespace="packshot"}`,
    values: `${value}`,
  })
  const queue = (seconds: number, count: number) =>
    [1, 2].flatMap((server) => [
      series('work_seconds', server, 'interactive', seconds),
      series('work_seconds', server, 'batch', 0),
      series('jobs', server, 'interactive', count),
      series('jobs', server, 'batch', 0),
    ])
  const cases = [
    { input_series: queue(300, 20), samples: [{ labels: '{}', value: 300 }] },
    { input_series: queue(1800, 1), samples: [{ labels: '{}', value: 120 }] },
    { input_series: queue(0, 0), samples: [{ labels: '{}', value: 0 }] },
    {
      input_series: queue(0, 3).filter((one) => one.series.includes('jobs')),
      samples: [{ labels: '{}', value: 360 }],
    },
    { input_series: [], samples: [] },
  ]
  const tests = cases.map(({ input_series, samples }) => ({
    interval: '1m',
    input_series,
    promql_expr_test: [{ expr: first?.metadata.query, eval_time: '0m', exp_samples: samples }],
  }))
  writeFileSync(file, stringify({ rule_files: [], evaluation_interval: '1m', tests }))
  checked('promtool', 'test', 'rules', file)
})
