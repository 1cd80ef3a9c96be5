import { Worker } from 'node:worker_threads'
import type { CheckpointFacts } from '../../diffusion/checkpoint/facts.ts'
import { refused } from '../../diffusion/errors.ts'
import { type FactsMessage, receivedFacts } from './facts-message.ts'

/**
 * Reads headers and configs in a thread of its own, one file after the other: a header of the largest size keeps a
 * process busy for some tenths of a second, and a server has polls to answer meanwhile.
 */
export interface FactsReader {
  /** @throws what `readFacts` throws; CheckpointError for a file that the thread dies of twice; Error once it is closed */
  read(path: string): Promise<CheckpointFacts>
  close(): void
}

/** Several times what a header of the largest size takes. */
const heapMb = 512
/** Files come in groups, and a thread takes some memory while it waits. */
const idleMs = 10_000

export function threadedFacts(
  entry = new URL('./facts-thread.ts', import.meta.url),
  limits = { heapMb },
): FactsReader {
  let worker: Worker | undefined
  let idle: NodeJS.Timeout | undefined
  let last: Promise<unknown> = Promise.resolve()
  let closed = false

  const end = () => {
    clearTimeout(idle)
    void worker?.terminate()
    worker = undefined
  }

  const start = () => {
    const started = new Worker(entry, {
      name: 'headers',
      resourceLimits: { maxOldGenerationSizeMb: limits.heapMb },
    })
    // an error without a listener would end the process
    return started.on('error', () => {
      if (worker === started) end()
    })
  }

  /** Undefined if the thread died of it. */
  const ask = async (path: string): Promise<FactsMessage | undefined> => {
    if (closed) throw new Error('files are not read any more')
    clearTimeout(idle)
    worker ??= start()
    const asked = worker
    asked.ref()
    const { promise, resolve } = Promise.withResolvers<FactsMessage | undefined>()
    const died = () => resolve(undefined)
    asked.once('message', resolve).once('error', died).once('exit', died)
    asked.postMessage(path)
    const answer = await promise
    asked.off('message', resolve).off('error', died).off('exit', died)
    if (answer === undefined) end()
    else {
      asked.unref()
      idle = setTimeout(end, idleMs).unref()
    }
    return answer
  }

  return {
    read(path) {
      const asked = last.then(async () => {
        const answer = (await ask(path)) ?? (await ask(path))
        if (answer === undefined) throw refused(path, 'reading the file takes too much memory')
        return receivedFacts(answer)
      })
      last = asked.catch(() => undefined)
      return asked
    },
    close() {
      closed = true
      end()
    },
  }
}
