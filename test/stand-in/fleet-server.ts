import { runUntilSignal } from '../../src/main/process/run-until-signal.ts'
import { startServer } from '../../src/main/server.ts'
import { failPointVariable, withFailPoint } from '../fault-kit/fail-points.ts'
import { standInEngine } from './engine.ts'

/** The real `npm run server`, except for its model, with a fail point if the environment says so. */
await runUntilSignal(() =>
  startServer(process.env, {
    ...standInEngine,
    around: (parts) => withFailPoint(parts, process.env[failPointVariable]),
  }),
)
