import { parentPort } from 'node:worker_threads'
import { readFacts } from '../../diffusion/checkpoint/facts.ts'
import { sentFacts, sentFault } from './facts-message.ts'

/** A thread that reads the headers of files: gets a path, answers a `FactsMessage`. */

parentPort?.on('message', async (path: string) => {
  parentPort?.postMessage(await readFacts(path).then(sentFacts, sentFault))
})
