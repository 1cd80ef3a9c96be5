import { Worker } from 'node:worker_threads'
import { AppError } from '../jobs/errors.ts'
import type { GenerateMessage, RunMessage, ThreadFault, ThreadMessage, ThreadNews } from './protocol.ts'

/** One thread with a loaded model. It works on runs until it dies or is ended. */
export interface InferenceThread {
  /** Settles once: resolves when the model is loaded, or rejects with an `AppError`. */
  readonly ready: Promise<void>
  readonly dead: boolean
  /** How many pictures it draws at the same time, of one run or of several; 1 until it is ready. */
  readonly together: number
  /**
   * `listen` gets the messages of the run, and `died` is called at most once, until the returned function is called.
   */
  start(
    message: GenerateMessage,
    listen: (message: RunMessage) => void,
    died: (error: AppError) => void,
  ): () => void
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
  let together = 1
  const runs = new Map<
    number,
    { readonly listen: (message: RunMessage) => void; readonly died: (error: AppError) => void }
  >()

  const onDeath = (error: AppError) => {
    dead = true
    reject(error)
    for (const { died } of runs.values()) died(error)
  }
  worker.on('message', (message: ThreadMessage) => {
    if (message.type === 'ready') {
      together = message.together
      resolve()
    } else if (message.type === 'unusable') onDeath(faultError(message.fault))
    else if ('run' in message) runs.get(message.run)?.listen(message)
    else onNews(message)
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
    get together() {
      return together
    },
    start(message, listen, died) {
      runs.set(message.run, { listen, died })
      worker.postMessage(message)
      return () => void runs.delete(message.run)
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
