import { Worker } from 'node:worker_threads'
import { AppError } from '../jobs/errors.ts'
import type { GenerateMessage, ThreadFault, ThreadMessage, ThreadNews } from './protocol.ts'

/** One thread with a loaded model. It does one run at a time until it dies or is ended. */
export interface InferenceThread {
  /** Settles once: resolves when the model is loaded, or rejects with an `AppError`. */
  readonly ready: Promise<void>
  readonly dead: boolean
  /** `listen` gets every later message of a run, and at most one `died`, until the next `start`. */
  start(
    message: GenerateMessage,
    listen: (message: ThreadMessage) => void,
    died: (error: AppError) => void,
  ): void
  /** Resolves when the thread is gone; false if it did not end within `withinMs` (stuck in native code). */
  end(withinMs: number): Promise<boolean>
}

export function startThread(
  entry: URL,
  settings: unknown,
  onNews: (news: ThreadNews) => void,
): InferenceThread {
  const worker = new Worker(entry, { workerData: settings, name: 'inference' })
  const { promise: ready, resolve, reject } = Promise.withResolvers<void>()
  // it may reject before it is awaited
  ready.catch(() => {})
  let dead = false
  let listen: (message: ThreadMessage) => void = () => {}
  let died: (error: AppError) => void = () => {}

  const onDeath = (error: AppError) => {
    dead = true
    reject(error)
    died(error)
  }
  worker.on('message', (message: ThreadMessage) => {
    if (message.type === 'ready') resolve()
    else if (message.type === 'unusable') onDeath(faultError(message.fault))
    else if (message.type === 'holdings' || message.type === 'warning') onNews(message)
    else listen(message)
  })
  worker.on('error', (cause) => {
    const full = 'code' in cause && cause.code === 'ERR_WORKER_OUT_OF_MEMORY'
    const error = full
      ? new AppError('out_of_memory', 'The engine ran out of memory.', { cause })
      : new AppError('generation_failed', 'The engine failed on this request.', { cause })
    onDeath(error)
  })
  worker.on('exit', (code) => {
    onDeath(new AppError('generation_failed', `The engine exited unexpectedly (code ${code}).`))
  })

  return {
    ready,
    get dead() {
      return dead
    },
    start(message, onMessage, onDied) {
      listen = onMessage
      died = onDied
      worker.postMessage(message)
    },
    async end(withinMs) {
      dead = true
      const timer = Promise.withResolvers<false>()
      const timeout = setTimeout(() => timer.resolve(false), withinMs)
      const gone = await Promise.race([worker.terminate().then(() => true as const), timer.promise])
      clearTimeout(timeout)
      return gone
    },
  }
}

/** A fault of the thread as an error of this process; its cause shows in the log where it happened. */
export function faultError({ code, message, detail, stack }: ThreadFault): AppError {
  const cause = new Error(message)
  cause.stack = stack
  return new AppError(code, message, { cause, ...(detail !== undefined && { detail }) })
}
