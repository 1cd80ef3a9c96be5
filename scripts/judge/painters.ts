import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import type { Picture, PictureRequest } from '../../src/diffusion/request.ts'

/** One engine per core: for many small pictures this is faster than one engine with all cores. */
export class Painters {
  readonly #idle: Worker[]
  readonly #waiting: ((painter: Worker) => void)[] = []

  constructor(model: string) {
    const entry = new URL('./painter-thread.ts', import.meta.url)
    this.#idle = Array.from(
      { length: availableParallelism() },
      () => new Worker(entry, { workerData: model }),
    )
  }

  /** Rejects as the engine does. */
  async paint(request: PictureRequest): Promise<Picture> {
    const painter = this.#idle.pop() ?? (await new Promise<Worker>((resolve) => this.#waiting.push(resolve)))
    painter.postMessage(request)
    const [picture] = (await once(painter, 'message')) as [Picture]
    const next = this.#waiting.shift()
    if (next === undefined) this.#idle.push(painter)
    else next(painter)
    return picture
  }

  async close(): Promise<void> {
    await Promise.all(this.#idle.map((painter) => painter.terminate()))
  }
}
