import { isMainThread } from 'node:worker_threads'

/**
 * What each process of tests begins with: it ends as a command does (`endWith` in src/cli/run-command.ts, which says why), but when all
 * listeners for the end have run. So what the tests left running still keeps their process alive, and is seen.
 */
if (isMainThread) process.once('beforeExit', () => process.once('exit', () => process.exit()))
