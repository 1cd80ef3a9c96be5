import { setTimeout as sleep } from 'node:timers/promises'
import { deflateSync } from 'node:zlib'
import { serveInference } from '../../src/adapters/inference-thread/serve.ts'

/**
 * An engine that makes no pictures: a stand-in with the faults that tests need, asked for by words of the prompt.
 * Production code cannot reach it: the thread's file is an argument.
 *
 *   "20ms"  each step takes that long           "hang"  never ends a step, and blocks the thread
 *   "throw" an error of no known kind           "crash" the thread ends         "kill" the whole process dies
 */
async function act(prompt: string): Promise<void> {
  const delay = /\b(\d+)ms\b/.exec(prompt)?.[1]
  if (delay !== undefined) await sleep(Number(delay))
  if (/\bthrow\b/.test(prompt)) throw new Error('a secret of the engine')
  if (/\bmemory\b/.test(prompt)) throw new Error('std::bad_alloc')
  if (/\bcrash\b/.test(prompt)) process.exit(7)
  if (/\bkill\b/.test(prompt)) process.kill(process.pid, 'SIGKILL')
  while (/\bhang\b/.test(prompt));
}

/** The bytes of a picture depend on its seed alone, as those of the real engine do. */
function bytesOf(seed: number): Uint8Array {
  const signature = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a)
  return new Uint8Array(Buffer.concat([signature, deflateSync(`picture of seed ${seed}`.repeat(1000))]))
}

await serveInference(
  async () => ({
    async make(request, seed, { onStep, signal }) {
      for (let step = 1; step <= request.steps; step += 1) {
        if (signal.aborted) throw new Error('stopped')
        await act(request.prompt)
        onStep(step)
      }
      return { bytes: bytesOf(seed), width: request.width, height: request.height }
    },
  }),
  () => undefined,
)
