import { runUntilSignal } from '../../src/main/process/run-until-signal.ts'
import { startWorker } from '../../src/main/worker.ts'
import { standInEngine } from './engine.ts'

/** The real `npm run worker`, except for its engine. */
await runUntilSignal(() => startWorker(process.env, standInEngine.workerEntry, standInEngine.workerNeeds))
