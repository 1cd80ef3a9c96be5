import type { Server } from 'node:http'
import { priorities } from '../../jobs/fields.ts'
import type { ImageStore, WebhookQueue } from '../../jobs/ports.ts'
import { readQueuedWork } from '../../jobs/serving/queued-work.ts'
import type { Backends } from '../backends.ts'
import type { Measured, Pulses } from './measured.ts'
import type { Measuring } from './metrics.ts'

/** Gauges that are read when Prometheus asks. */

/** A service that answered, or did not, so long ago is asked again. */
const pulseMs = 5000

const services = ['queue', 'status', 'storage'] as const

/** Whether each service answers, by the calls that this process made, or one that is made for it. */
export function readDependencies({ metrics, readAtScrape }: Measuring, { backends, pulses }: Measured): void {
  const ask: Record<keyof Pulses, () => Promise<unknown>> = {
    queue: () => backends.queue.depth(),
    status: () => backends.status.load(),
    storage: () => backends.images.openRuns(),
  }
  for (const name of services) {
    readAtScrape({
      async read() {
        const isOld = performance.now() - (pulses[name]?.at ?? Number.NEGATIVE_INFINITY) > pulseMs
        // the call notes its own outcome in the pulse
        if (isOld) await ask[name]().catch(() => {})
        const up = pulses[name]?.up === true
        return () => metrics.dependencyUp.set({ name }, up ? 1 : 0)
      },
      forget: () => metrics.dependencyUp.set({ name }, 0),
    })
  }
}

/** What the servers of an installation see alike: the queue, and the workers that take from it. */
export function readQueue({ metrics, readAtScrape }: Measuring, backends: Backends): void {
  const { queueJobs, queueOldest, queueWork, queueConsumers, webhooksWaiting } = metrics
  readAtScrape({
    async read() {
      const { work, workers } = await readQueuedWork(backends)
      return () => {
        for (const priority of priorities) {
          const { jobs, seconds, oldestSeconds } = work[priority]
          queueJobs.set({ class: priority }, jobs)
          queueWork.set({ class: priority }, seconds)
          queueOldest.set({ class: priority }, oldestSeconds)
        }
        queueConsumers.set({}, workers)
      }
    },
    forget() {
      for (const priority of priorities) {
        for (const gauge of [queueJobs, queueWork, queueOldest]) gauge.forget({ class: priority })
      }
      queueConsumers.forget({})
    },
  })
  readAtScrape(oneGauge(webhooksWaiting, () => waitingIn(backends.webhookQueue)))
}

/** Of the server process itself. @param images those of an installation that keeps results on its disk */
export function readServer(
  { metrics, readAtScrape }: Measuring,
  http: Server,
  images: ImageStore | undefined,
): void {
  const connections = () =>
    new Promise<number>((resolve, reject) =>
      http.getConnections((err, count) => (err === null ? resolve(count) : reject(err))),
    )
  readAtScrape(oneGauge(metrics.httpConnections, connections))
  if (images !== undefined) readAtScrape(oneGauge(metrics.diskFree, () => images.freeBytes()))
}

interface PlainGauge {
  set(labels: object, value: number): void
  forget(labels: object): void
}

function oneGauge(gauge: PlainGauge, value: () => Promise<number | undefined>) {
  return {
    async read() {
      const found = await value()
      return () => (found === undefined ? gauge.forget({}) : gauge.set({}, found))
    },
    forget: () => gauge.forget({}),
  }
}

const waitingIn = (queue: WebhookQueue) => queue.depth()
