import type { TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Cleanup } from '../cleanup.ts'
import { startWatchers, type Watchers } from '../deploy/watchers.ts'
import { waitFor } from '../kit/waiting.ts'
import type { ServerProcess } from '../service/server-process.ts'
import { freePort } from '../services/free-port.ts'
import { type RabbitmqService, startRabbitmq } from '../services/rabbitmq.ts'
import { services } from '../services/services.ts'
import { type Load, startLoad } from './crew.ts'
import { type Fleet, prepareFleet } from './fleet.ts'

/**
 * A real fleet under load, scraped by a real Prometheus with the rules of deploy/, a minute of which takes a second here; a
 * real Alertmanager tells the test.
 */
export interface WatchedFleet {
  readonly rabbit: RabbitmqService
  readonly fleet: Fleet
  readonly workers: readonly ServerProcess[]
  readonly watchers: Watchers
  load: Load
  /** Sends jobs, one every `everyMs`. */
  startLoad(everyMs: number): Load
  /** What somebody was told of since the last call, but for what is not of an outage. */
  told(): string[]
  untilAllIsWell(): Promise<void>
  /** Resolves to all that somebody is told of, from the first alert on until it has been quiet for so long. */
  toldOf(t: TestContext, outage: () => unknown, quietMinutes?: number): Promise<string[]>
}

/**
 * Not of the outage: a busy machine holds up any process and any call, and the tickets about the budget of a month come, as
 * they should, when an outage is over that has spent a part of it.
 */
const others = /^Packshot(EventLoopSlow|StatusErrors)$|Slowly$/

const seconds = (ms: number) => `${(ms / 1000).toFixed(0)} s`

export async function startWatchedFleet(ending: Cleanup): Promise<WatchedFleet> {
  const rabbit = await startRabbitmq(ending, { metrics: true })
  const fleet = await prepareFleet(ending, { ...(await services()), queueUrl: rabbit.url })
  const [serverPort, ...workerPorts] = [await freePort(), await freePort(), await freePort()]
  const server = fleet.server({ PACKSHOT_METRICS_PORT: String(serverPort) })
  const workers = workerPorts.map((port) => fleet.worker({ PACKSHOT_METRICS_PORT: String(port) }))
  await Promise.all(workers.map(({ address }) => address))
  const address = await server.address
  const loaded = (everyMs: number) => startLoad([address], '10ms', everyMs)
  const at = (port: number | undefined) => `127.0.0.1:${port}`
  const load = loaded(1200)
  ending.after(() => watched.load.stop().catch(() => {}))
  const watchers = await startWatchers(ending, {
    'packshot-server': [at(serverPort)],
    'packshot-worker': workerPorts.map(at),
    rabbitmq: [at(rabbit.metricsPort)],
    'rabbitmq-queues': [at(rabbit.metricsPort)],
  })
  const told = () => watchers.told().filter((name) => !others.test(name))

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

  const watched: WatchedFleet = {
    rabbit,
    fleet,
    workers,
    watchers,
    load,
    startLoad: loaded,
    told,
    untilAllIsWell,
    async toldOf(t, outage, quietMinutes = 12) {
      const began = performance.now()
      await untilAllIsWell()
      const wellAt = performance.now()
      told()
      await outage()
      const all = new Set<string>()
      const listen = () => {
        for (const name of told()) all.add(name)
        return all.size > 0
      }
      await waitFor(listen, 120_000)
      const toldAt = performance.now()
      t.diagnostic(`all was well after ${seconds(wellAt - began)}, told after ${seconds(toldAt - wellAt)}`)
      await sleep(watchers.seconds(quietMinutes) * 1000)
      listen()
      return [...all]
    },
  }
  return watched
}
