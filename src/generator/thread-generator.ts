import { AppError } from '../jobs/errors.ts'
import type { Log } from '../jobs/log.ts'
import type { GeneratedImage, ImageGenerator } from '../jobs/ports.ts'
import type { RunMessage, ThreadNews } from './protocol.ts'
import { faultError, type InferenceThread, startThread } from './thread.ts'

export interface ThreadGeneratorOptions {
  /** The thread's file: it calls `serveInference`. */
  readonly entry: URL
  /** The thread's workerData. */
  readonly settings: unknown
  readonly log: Log
  /** How long an aborted run may continue (it stops at its next step) before its thread is ended. */
  readonly abortGraceMs?: number
  /** How long ending a thread may take. */
  readonly endMs?: number
  /** Called with what the thread reports about itself. */
  readonly onNews?: (news: ThreadNews) => void
  /** The thread cannot be ended: only the end of the process helps. Must not return. */
  readonly onStuck: () => void
}

export interface ThreadGenerator extends ImageGenerator {
  /** Loads the model now rather than at the first picture. Rejects `model_invalid` and the like. */
  start(): Promise<void>
}

/**
 * Runs the engine in a worker thread, because it blocks its thread. A run is aborted through shared memory; a thread
 * that crashed or does not stop in time is replaced at the next run, and takes its other runs with it. One that ran out
 * of memory is replaced when its other runs have ended; runs that come meanwhile wait for the next one.
 */
export function threadGenerator(options: ThreadGeneratorOptions): ThreadGenerator {
  const { entry, settings, log, abortGraceMs = 30_000, endMs = 10_000, onNews = () => {}, onStuck } = options
  let current: InferenceThread | undefined
  let runs = 0
  /** Of the current thread. */
  const active = new Set<number>()
  /** The current thread's memory may be fragmented: settles when it is replaced. */
  let spent: PromiseWithResolvers<void> | undefined

  const loaded = async () => {
    while (spent !== undefined) await spent.promise
    if (current === undefined || current.dead) current = startThread(entry, settings, onNews)
    await current.ready
    return current
  }
  const replace = async (thread: InferenceThread) => {
    if (await thread.end(endMs)) return
    log.error({}, 'the inference thread cannot be ended')
    onStuck()
  }

  /** Ends a run of a thread, which is idle or not. */
  const leave = async (thread: InferenceThread, run: number, idle: boolean) => {
    active.delete(run)
    if (!thread.dead) {
      if (idle && (spent === undefined || active.size > 0)) return
      await replace(thread)
    }
    spent?.resolve()
    spent = undefined
  }

  return {
    together: () => current?.together ?? 1,
    async start() {
      await loaded()
    },
    async *generate(request, options) {
      const { signal } = options
      signal.throwIfAborted()
      const thread = await unlessAborted(loaded(), signal).catch(async (thrown) => {
        // a model that does not load in time means that the thread hangs: the next run needs a new one
        const isHung = thrown instanceof AppError && thrown.code === 'timeout' && active.size === 0
        if (isHung && current !== undefined) await replace(current)
        throw thrown
      })
      runs += 1
      const number = runs
      active.add(number)
      const run = startRun(thread, number, request, options, abortGraceMs)
      try {
        for (;;) {
          const image = await run.next()
          if (image === undefined) return
          yield image
        }
      } catch (thrown) {
        if (thrown instanceof AppError && thrown.code === 'out_of_memory') spent ??= Promise.withResolvers()
        throw thrown
      } finally {
        // also when the caller leaves early: the run must have ended, or its thread, before the next one
        await leave(thread, number, await run.settle())
      }
    },
    async close() {
      if (current !== undefined && !current.dead) await replace(current)
    },
  }
}

/** The value, or the signal's reason if that comes first. */
async function unlessAborted<T>(value: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>()
  const onAbort = () => reject(signal.reason)
  signal.addEventListener('abort', onAbort)
  try {
    return await Promise.race([value, promise])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

type Generate = Parameters<ImageGenerator['generate']>

function startRun(
  thread: InferenceThread,
  run: number,
  request: Generate[0],
  { signal, onProgress, onMark, onFree, images: given, previews }: Generate[1],
  abortGraceMs: number,
) {
  const abort = new SharedArrayBuffer(4)
  const ended = Promise.withResolvers<void>()
  const images: GeneratedImage[] = []
  let wake = Promise.withResolvers<void>()
  let outcome: { error?: unknown } | undefined
  let graceTimer: NodeJS.Timeout | undefined
  let idle = false

  const finish = (result: { error?: unknown }) => {
    outcome ??= result
    wake.resolve()
    ended.resolve()
  }
  const stop = () => {
    if (Atomics.exchange(new Int32Array(abort), 0, 1) !== 0) return
    const late = () => finish({ error: signal.aborted ? signal.reason : undefined })
    graceTimer = setTimeout(late, abortGraceMs)
  }
  const onMessage = (message: RunMessage) => {
    if (message.type === 'progress') {
      const { step, steps, at } = message
      if (signal.aborted) return
      onMark?.({ step, at })
      onProgress({ step, steps })
    } else if (message.type === 'phase') {
      if (!signal.aborted) onMark?.({ phase: message.phase, at: message.at })
    } else if (message.type === 'preview') {
      const { index, bytes } = message
      if (!signal.aborted) previews?.onPreview({ index, bytes })
    } else if (message.type === 'image') {
      const { type: _type, run: _run, ...image } = message
      images.push(image)
      wake.resolve()
    } else {
      idle = true
      onFree?.()
      if (signal.aborted) finish({ error: signal.reason })
      else finish(message.type === 'failed' ? { error: faultError(message.fault) } : {})
    }
  }
  signal.addEventListener('abort', stop)
  const message = {
    run,
    request,
    abort,
    ...(given === undefined ? {} : { images: given }),
    ...(previews === undefined ? {} : { previews: previews.count }),
  }
  const leave = thread.start(message, onMessage, (error) =>
    finish({ error: signal.aborted ? signal.reason : error }),
  )
  if (signal.aborted) stop()

  return {
    /** The next picture, undefined after the last one; rejects with what ended the run early. */
    async next(): Promise<GeneratedImage | undefined> {
      for (;;) {
        const image = images.shift()
        if (image !== undefined) return image
        if (outcome !== undefined && outcome.error !== undefined) throw outcome.error
        if (outcome !== undefined) return undefined
        await wake.promise
        wake = Promise.withResolvers<void>()
      }
    },
    /** Stops what still runs; answers whether the thread is idle. */
    async settle(): Promise<boolean> {
      if (outcome === undefined) stop()
      await ended.promise
      clearTimeout(graceTimer)
      signal.removeEventListener('abort', stop)
      leave()
      return idle
    },
  }
}
