import { startAllInOne } from '../../src/main/all-in-one.ts'
import { runUntilSignal } from '../../src/main/process/run-until-signal.ts'
import { standInEngine } from './engine.ts'

/** The real all-in-one program, except for its engine. */
await runUntilSignal(() => startAllInOne(process.env, standInEngine))
