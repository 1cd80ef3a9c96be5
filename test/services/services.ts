import { after } from 'node:test'
import { type Cleanup, lastFirst } from '../cleanup.ts'
import { provideQueue, provideStatus, provideStorage, type Services, type Storage } from './provide.ts'

/**
 * The real services that all tests of a process share. Each is started at the first call that wants it and ended
 * after the process's tests; under `run.ts` they are there already and a call takes no time. A test that breaks a
 * service starts one of its own: `startRabbitmq`, `startRedis`, `startRgw`.
 */

// Registered while the module loads, that is at the root: inside a test it would end the services after that test.
// Hence only test files may import this module, and not with a dynamic import.
const ending: Cleanup = lastFirst({ after })

let queue: Promise<string> | undefined
let status: Promise<string> | undefined
let bucket: Promise<Storage> | undefined

/** AMQP, RabbitMQ. */
export function queueUrl(): Promise<string> {
  queue ??= provideQueue(ending)
  return queue
}

/** Redis or Valkey, to be shared: no FLUSHALL, and key names of one's own. */
export function statusUrl(): Promise<string> {
  status ??= provideStatus(ending)
  return status
}

/** An S3 server with one bucket, to be shared: key names of one's own. */
export function storage(): Promise<Storage> {
  bucket ??= provideStorage(ending)
  return bucket
}

/** All three, started at the same time. */
export async function services(): Promise<Services> {
  const [first, second, third] = await Promise.all([queueUrl(), statusUrl(), storage()])
  return { queueUrl: first, statusUrl: second, ...third }
}
