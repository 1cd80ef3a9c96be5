import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { dashboards } from '../../scripts/dashboards/all.ts'
import { resolved } from '../../scripts/drawing/page.ts'
import { exporters } from '../deploy/known-names.ts'
import { startWatchers, type Watchers } from '../deploy/watchers.ts'
import { waitFor } from '../kit/waiting.ts'
import type { ServerProcess } from '../service/server-process.ts'
import { lastFirst } from '../services/daemon.ts'
import { freePort } from '../services/free-port.ts'
import { type RabbitmqService, startRabbitmq } from '../services/rabbitmq.ts'
import { services } from '../services/services.ts'
import { type Load, startLoad } from './crew.ts'
import { type Fleet, prepareFleet } from './fleet.ts'

/**
 * A real Prometheus with the rules of deploy/, a minute of which takes a second here, scrapes a real fleet; a real
 * Alertmanager tells the test. Of each outage exactly one alert arrives, however many fire.
 */

let rabbit: RabbitmqService
let fleet: Fleet
let workers: ServerProcess[]
let address: string
let load: Load
let watchers: Watchers

const ending = lastFirst({ after })
before(async () => {
  rabbit = await startRabbitmq(ending, { metrics: true })
  fleet = await prepareFleet(ending, { ...(await services()), queueUrl: rabbit.url })
  const [serverPort, ...workerPorts] = [await freePort(), await freePort(), await freePort()]
  const server = fleet.server({ PACKSHOT_METRICS_PORT: String(serverPort) })
  workers = workerPorts.map((port) => fleet.worker({ PACKSHOT_METRICS_PORT: String(port) }))
  await Promise.all(workers.map(({ address }) => address))
  address = await server.address
  load = startLoad([address], '10ms', 100)
  ending.after(() => load.stop().catch(() => {}))
  const at = (port: number | undefined) => `127.0.0.1:${port}`
  watchers = await startWatchers(ending, {
    'packshot-server': [at(serverPort)],
    'packshot-worker': workerPorts.map(at),
    rabbitmq: [at(rabbit.metricsPort)],
    'rabbitmq-queues': [at(rabbit.metricsPort)],
  })
})

/**
 * Not of the outage: a busy machine holds up any process and any call, and the tickets about the budget of a month come, as
 * they should, when an outage is over that has spent a part of it.
 */
const others = /^Packshot(EventLoopSlow|StatusErrors)$|Slowly$/

async function untilAllIsWell(): Promise<void> {
  let firing: string[] = []
  const isWell = async () => {
    firing = (await watchers.firing()).filter((name) => !others.test(name))
    return firing.length === 0
  }
  await waitFor(isWell, 180_000).catch((cause) => {
    throw new Error(`these still fire: ${firing}`, { cause })
  })
}

/** Resolves to all that somebody is told of, from the first alert on until it has been quiet for so long. */
async function toldOf(outage: () => unknown, quietMinutes = 12): Promise<string[]> {
  await untilAllIsWell()
  watchers.told()
  await outage()
  const told = new Set<string>()
  const listen = () => {
    for (const name of watchers.told()) if (!others.test(name)) told.add(name)
    return told.size > 0
  }
  await waitFor(listen, 120_000)
  await sleep(watchers.seconds(quietMinutes) * 1000)
  listen()
  return [...told]
}

test('a fleet that works under load raises no alert, and every panel gets an answer', async () => {
  await untilAllIsWell()
  watchers.told()
  const goal = load.accepted.length + 50
  await waitFor(() => load.accepted.length >= goal)
  await sleep(watchers.seconds(12) * 1000)
  assert.deepEqual(
    watchers.told().filter((name) => !others.test(name)),
    [],
  )
  const to = Date.now() / 1000
  const range = { from: to - 30, to, step: 1 }
  for (const { title, rows } of Object.values(dashboards)) {
    for (const panel of rows.flatMap(({ panels }) => panels)) {
      for (const { expr } of panel.queries ?? []) {
        // a panel leaves out what does not happen: here it is enough that it is counted
        const found = await watchers.query(resolved(expr, range, 1).replace(/ > 0$/, ''))
        if (!mayBeEmpty.test(expr)) assert.notDeepEqual(found, [], `${title}: ${panel.title}: ${expr}`)
      }
    }
  }
  const { traefik: _notHere, ...real } = exporters
  for (const name of Object.values(real).flat()) {
    const found = await watchers.query(`${name}`)
    assert.ok(found.length > 0 || name === 'ALERTS', name)
  }
})

/** No proxy and no results in a data folder here; what only faults or seven days have. */
const mayBeEmpty = /traefik|packshot_disk_free|outcome!="ok"|status="failed"|ALERTS|refused|busy == 1/

for (const [name, service, alert] of [
  ['storage', () => fleet.storage, 'PackshotDependencyDown'],
  ['status', () => fleet.redis, 'PackshotStatusStoreDown'],
  ['queue', () => fleet.broker, 'PackshotDependencyDown'],
] as const) {
  test(`a service that is unavailable is one alert: ${name}`, async () => {
    assert.deepEqual(await toldOf(() => service().refuse()), [alert])
    assert.deepEqual(
      (await watchers.query(`ALERTS{alertname="${alert}"}`)).map(({ metric }) => metric.name),
      [name],
    )
    await service().pass()
  })
}

test('a broker that is short of disk is one alert', async () => {
  ending.after(async () => {
    await rabbit.ctl('set_disk_free_limit', '50MB').catch(() => {})
  })
  assert.deepEqual(await toldOf(() => rabbit.ctl('set_disk_free_limit', '1000000GB')), [
    'PackshotBrokerAlarm',
  ])
  await rabbit.ctl('set_disk_free_limit', '50MB')
})

test('jobs that wait while all workers are dead are one alert', async () => {
  // none has waited long before
  await load.stop()
  const isIdle = async () =>
    (await watchers.query('sum(max by (class) (packshot_queue_jobs)) == 0')).length > 0
  await waitFor(isIdle, 180_000)
  const kill = () => {
    for (const { process } of workers) process.kill('SIGKILL')
    load = startLoad([address], '10ms', 1000)
  }
  // longer than it takes for the ticket about what cannot be scraped
  assert.deepEqual(await toldOf(kill, 30), ['PackshotQueueWithoutWorkers'])
})
