import { isMainThread } from 'node:worker_threads'

/**
 * What each process of tests begins with. A Node whose work is over frees its environment before it ends, and was seen to spin there for
 * ever (24.21, `Environment::CleanupHandles`; nodejs/node#47748 is alike). `process.exit` leaves that out: it is called when all
 * listeners for the end have run, so what the tests left running still keeps their process alive, and is seen.
 */
if (isMainThread) process.once('beforeExit', () => process.once('exit', () => process.exit()))
