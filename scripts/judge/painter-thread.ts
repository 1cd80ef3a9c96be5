import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parentPort, workerData } from 'node:worker_threads'
import { openEngine } from '../../src/diffusion/engine.ts'
import type { PictureRequest } from '../../src/diffusion/request.ts'

/** A thread that makes one picture after another, on one core. */
const cacheFolder = join(tmpdir(), 'packshot-judge-weights')
const engine = await openEngine({ model: workerData, provider: 'cpu', threads: 1, cacheFolder })
parentPort?.on('message', async (request: PictureRequest) => {
  const { rgb, width, height } = await engine.generate(request)
  parentPort?.postMessage({ rgb, width, height }, [rgb.buffer as ArrayBuffer])
})
