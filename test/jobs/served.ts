import type { FastifyInstance } from 'fastify'
import { pino } from 'pino'
import { buildHttp } from '../../src/http/app.ts'
import { createServices } from '../../src/http/services.ts'
import type { ImageGenerator } from '../../src/jobs/ports.ts'
import { runTask } from '../../src/jobs/working/run.ts'
import { type Cleanup, lastFirst } from '../cleanup.ts'
import { waitFor } from '../kit/waiting.ts'
import { type Embedded, embedded, quickGenerator, runDeps } from './embedded.ts'

export interface Served {
  readonly app: FastifyInstance
  readonly parts: Embedded
  readonly state: { ready: boolean }
  /** Works on what waits, until nothing does. */
  work(generator?: ImageGenerator): Promise<void>
  /** Works while the action lasts. */
  working<T>(action: () => Promise<T>, generator?: ImageGenerator): Promise<T>
}

/** The whole HTTP side over the embedded adapters, for `inject`; workers are this process, when a test asks for one. */
export async function served(
  t: Cleanup,
  change: (parts: Embedded) => Partial<Embedded> = () => ({}),
): Promise<Served> {
  const parts = embedded(t)
  const state = { ready: true }
  const services = createServices({ ...parts, ...change(parts) }, () => state.ready)
  const app = await buildHttp({ services, log: pino({ level: 'silent' }) })
  lastFirst(t).after(() => app.close())
  const working = async <T>(action: () => Promise<T>, generator = quickGenerator()): Promise<T> => {
    const deps = runDeps(parts, { generator })
    const { signal } = new AbortController()
    const consumer = await parts.queue.consume((delivery) => runTask(deps, delivery, signal))
    try {
      return await action()
    } finally {
      await consumer.stop()
    }
  }
  const idle = () => waitFor(async () => (await parts.queue.depth()) === 0)
  return { app, parts, state, working, work: (generator) => working(idle, generator) }
}

/** The events of a stream that has ended: its names and texts. */
export function eventsIn(body: string): { event: string | undefined; data: string }[] {
  return body
    .split('\n\n')
    .map((block) => block.split('\n'))
    .map((lines) => ({
      event: lines.find((line) => line.startsWith('event: '))?.slice(7),
      data: lines.flatMap((line) => (line.startsWith('data: ') ? [line.slice(6)] : [])).join('\n'),
    }))
    .filter(({ data }) => data !== '')
}
