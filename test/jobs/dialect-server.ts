import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from 'fastify'
import { pino } from 'pino'
import sharp from 'sharp'
import { buildHttp } from '../../src/http/app.ts'
import { createServices, type Services } from '../../src/http/services.ts'
import { runTask } from '../../src/jobs/working/run.ts'
import { type Cleanup, lastFirst } from '../cleanup.ts'
import { type Embedded, embedded, quickGenerator, runDeps, type StepAction } from './embedded.ts'

/** The whole API over the embedded parts, with a worker in this process that makes pictures of a few bytes. */
export interface DialectServer {
  readonly app: FastifyInstance
  readonly parts: Embedded
  /** The ids of the jobs that were accepted. */
  readonly accepted: readonly string[]
  post(url: string, body: unknown, headers?: Record<string, string>): Promise<LightMyRequestResponse>
  /** The address, listening; for what cannot be injected. */
  listen(): Promise<string>
}

export interface DialectServerOptions {
  readonly change?: (parts: Embedded) => Partial<Embedded>
  readonly onStep?: StepAction
  /** Whether there is a worker. */
  readonly works?: boolean
  readonly queueMax?: number
  readonly holdSeconds?: number
}

export async function dialectServer(t: Cleanup, options: DialectServerOptions = {}): Promise<DialectServer> {
  const { change = () => ({}), onStep = () => {}, works = true, queueMax = 100, holdSeconds = 120 } = options
  const parts = embedded(t, { queueMax })
  const created = createServices({ ...parts, ...change(parts) }, () => true)
  const accepted: string[] = []
  const services: Services = {
    ...created,
    async submit(...request) {
      const view = await created.submit(...request)
      accepted.push(view.id)
      return view
    },
  }
  const app = await buildHttp({ services, log: pino({ level: 'silent' }), holdSeconds })
  if (works) {
    const stopping = new AbortController()
    const deps = runDeps(parts, { generator: quickGenerator(onStep) })
    const consumer = await parts.queue.consume((delivery) => runTask(deps, delivery, stopping.signal))
    lastFirst(t).after(() => consumer.stop())
  }
  lastFirst(t).after(() => app.close())
  return {
    app,
    parts,
    accepted,
    post(url, body, headers = {}) {
      const request: InjectOptions = {
        method: 'POST',
        url,
        headers: { 'content-type': 'application/json', ...headers },
      }
      return app.inject({ ...request, payload: typeof body === 'string' ? body : JSON.stringify(body) })
    },
    async listen() {
      await app.listen({ port: 0, host: '127.0.0.1' })
      const bound = app.server.address()
      return `http://127.0.0.1:${typeof bound === 'object' && bound !== null ? bound.port : ''}`
    },
  }
}

export function pngFile(width = 64, height = 64): Promise<Buffer> {
  return sharp({ create: { width, height, channels: 3, background: '#c33' } })
    .png()
    .toBuffer()
}

/** A form as a client library sends it. */
export function multipart(parts: readonly (readonly [name: string, value: string | Buffer])[]) {
  const boundary = '----a-boundary'
  const pieces = parts.flatMap(([name, value]) => {
    const file = typeof value === 'string' ? '' : '; filename="f.png"\r\ncontent-type: image/png'
    return [`--${boundary}\r\ncontent-disposition: form-data; name="${name}"${file}\r\n\r\n`, value, '\r\n']
  })
  const payload = Buffer.concat([...pieces, `--${boundary}--\r\n`].map((piece) => Buffer.from(piece)))
  return { payload, headers: { 'content-type': `multipart/form-data; boundary=${boundary}` } }
}
