import { runWorker } from '../../src/main/worker-process.ts'
import { failPointVariable, withFailPoint } from '../fault-kit/fail-points.ts'

/**
 * The real worker process except for its engine, with a fail point or other time limits if the environment says so:
 * TEST_PATIENCE is JSON with `storageRetry` and `threadTimes`.
 */
await runWorker({
  inferenceEntry: new URL('./thread.ts', import.meta.url),
  around: (parts) => withFailPoint(parts, process.env[failPointVariable]),
  ...JSON.parse(process.env.TEST_PATIENCE ?? '{}'),
})
