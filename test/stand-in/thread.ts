import { execFileSync } from 'node:child_process'
import { createCipheriv, createHash } from 'node:crypto'
import { existsSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { workerData } from 'node:worker_threads'
import { deflateSync } from 'node:zlib'
import { serveInference } from '../../src/generator/serve.ts'
import { imageSeed, stepsOf } from '../../src/jobs/pictures.ts'
import type { GivenImages } from '../../src/jobs/ports.ts'

/**
 * An engine that makes no pictures: a stand-in with the faults that tests need, selected by words in the prompt.
 * Production code cannot reach it: the thread's file is an argument.
 *
 *   "20ms"  each step takes that long           "hang"  never ends a step, and blocks the thread
 *   "gate"  after the first step it waits until the file TEST_GATE is there; without the variable it does not
 *   "throw" an error of no known kind           "crash" the thread ends         "kill" the whole process dies
 *   "memory" out of memory, now and for whatever this thread makes later
 *   "stuck" never comes back from native code   "big" the picture has a megabyte more
 *
 * With PACKSHOT_BATCH it draws so many pictures at the same time.
 * With TEST_TELL it writes a line for each picture that it begins, and for each that it has made.
 */
let full = false

async function act(prompt: string, step: number, signal: { readonly aborted: boolean }): Promise<void> {
  const delay = /\b(\d+)ms\b/.exec(prompt)?.[1]
  if (delay !== undefined) await sleep(Number(delay))
  const gate = process.env.TEST_GATE
  const isShut = () => gate !== undefined && !existsSync(gate) && !signal.aborted
  while (/\bgate\b/.test(prompt) && step > 1 && isShut()) await sleep(10)
  if (/\bthrow\b/.test(prompt)) throw new Error('a secret of the engine')
  if (/\bmemory\b/.test(prompt)) full = true
  if (full) throw new Error('std::bad_alloc')
  if (/\bcrash\b/.test(prompt)) process.exit(7)
  if (/\bkill\b/.test(prompt)) process.kill(process.pid, 'SIGKILL')
  // blocked without using the processor: other tests run beside
  if (/\bhang\b/.test(prompt)) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
  if (/\bstuck\b/.test(prompt)) readForever()
}

/** Never returns, and cannot be interrupted by the end of its thread: a pipe with a writer that writes nothing is read. */
function readForever(): void {
  const folder = mkdtempSync(join(tmpdir(), 'packshot-test-'))
  const pipe = join(folder, 'pipe')
  execFileSync('mkfifo', [pipe])
  const file = openSync(pipe, 'r+')
  rmSync(folder, { recursive: true })
  readSync(file, Buffer.alloc(1))
}

/** The bytes of a picture depend on its request and the pictures given alone, as those of the real engine do. */
function bytesOf(prompt: string, seed: number, images: GivenImages | undefined): Uint8Array {
  const signature = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a)
  const from =
    images === undefined
      ? ''
      : ` from ${Buffer.from(images.init ?? [])} within ${Buffer.from(images.mask ?? [])}`
  const content = deflateSync(`picture of seed ${seed}${from}`.repeat(1000))
  const more = /\bbig\b/.test(prompt) ? noise(seed, 1_000_000) : Buffer.alloc(0)
  return new Uint8Array(Buffer.concat([signature, content, more]))
}

function noise(seed: number, length: number): Buffer {
  const key = createHash('sha256').update(String(seed)).digest()
  return createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(length))
}

await serveInference(
  async () => ({
    together: Number(workerData?.batch) || 1,
    async make(request, index, { onStep, onPhase, signal, images, previews }) {
      const seed = imageSeed(request, index)
      onPhase('text')
      if (process.env.TEST_TELL) writeSync(1, `engine begins "${request.prompt}" with seed ${seed}\n`)
      onPhase('steps')
      for (let step = 1; step <= stepsOf(request); step += 1) {
        if (signal.aborted) throw new Error('stopped')
        await act(request.prompt, step, signal)
        onStep(step)
        if (previews !== undefined && step <= Math.min(previews.count, stepsOf(request) - 1)) {
          previews.show(Buffer.from(`preview of seed ${seed} after step ${step}`))
        }
      }
      onPhase('decode')
      if (process.env.TEST_TELL) writeSync(1, `engine made "${request.prompt}" with seed ${seed}\n`)
      return { bytes: bytesOf(request.prompt, seed, images), width: request.width, height: request.height }
    },
  }),
  () => undefined,
)
