import { closeSync, openSync } from 'node:fs'
import type { Delivery } from '../../src/jobs/ports.ts'
import type { Backends } from '../../src/main/backends.ts'

/**
 * Where a process of a test can be made to die: before or after each step of the protocol. The points are calls of
 * the ports, so nothing of this is in the program itself; only the stand-in programs wrap their backends.
 */
export const workerPoints = [
  'received',
  'manifest looked for',
  'status written',
  'cancellation looked for',
  'running written',
  'picture made',
  'picture put',
  'manifest put',
  'final status written',
  'event published',
  'acknowledged',
] as const
export const serverPoints = ['before the publish', 'after the publish'] as const
/** Between the end of a job and the receiver of its webhook. */
export const webhookPoints = ['event received', 'webhook queued', 'webhook taken', 'webhook sent'] as const
export type FailPoint =
  | (typeof workerPoints)[number]
  | (typeof serverPoints)[number]
  | (typeof webhookPoints)[number]

/** Set for a stand-in program: `POINT|MARKER`. It is killed at POINT if the file MARKER is not there yet. */
export const failPointVariable = 'TEST_FAIL_POINT'

/** The backends with the fail point of the environment in them; as they are without one. */
export function withFailPoint(backends: Backends, setting: string | undefined): Backends {
  const [point, marker] = setting?.split('|') ?? []
  if (point === undefined || marker === undefined) return backends
  const reach = (reached: FailPoint) => {
    if (reached === point && isFirst(marker)) process.kill(process.pid, 'SIGKILL')
  }
  const after = async <T>(reached: FailPoint, action: Promise<T>): Promise<T> => {
    const value = await action
    reach(reached)
    return value
  }
  const { queue, events, webhookQueue, status, images } = backends
  return {
    ...backends,
    queue: {
      ...queue,
      async publish(...task) {
        reach('before the publish')
        await after('after the publish', queue.publish(...task))
      },
      consume: (handler) =>
        queue.consume((delivery, more) => {
          reach('received')
          const wrapped: Delivery = {
            message: delivery.message,
            attempt: delivery.attempt,
            losses: delivery.losses,
            lost: delivery.lost,
            ack: () => after('acknowledged', delivery.ack()),
            retry: (delayMs) => delivery.retry(delayMs),
            giveBack: (delayMs) => delivery.giveBack(delayMs),
            dead: (reason) => delivery.dead(reason),
          }
          return handler(wrapped, more)
        }),
    },
    events: {
      ...events,
      publish: (event) => after('event published', events.publish(event)),
      consume: (handler) =>
        events.consume((event) => {
          reach('event received')
          return handler(event)
        }),
    },
    webhookQueue: {
      ...webhookQueue,
      publish: (delivery) => after('webhook queued', webhookQueue.publish(delivery)),
      consume: (handler, options) =>
        webhookQueue.consume((delivery) => {
          reach('webhook taken')
          return after('webhook sent', handler(delivery))
        }, options),
    },
    status: {
      ...status,
      create: (task) => after('status written', status.create(task)),
      get: (id) => after('cancellation looked for', status.get(id)),
      advance: (id, update) => {
        const running = update.status === 'running'
        return after(running ? 'running written' : 'final status written', status.advance(id, update))
      },
    },
    images: {
      ...images,
      getManifest: (id) => after('manifest looked for', images.getManifest(id)),
      async putImage(...picture) {
        reach('picture made')
        await after('picture put', images.putImage(...picture))
      },
      commit: (manifest) => after('manifest put', images.commit(manifest)),
    },
  }
}

function isFirst(marker: string): boolean {
  try {
    closeSync(openSync(marker, 'wx'))
    return true
  } catch {
    return false
  }
}
