import { type Cleanup, ownCleanup } from '../test/cleanup.ts'
import { provideAll, type Services } from '../test/services/provide.ts'

/**
 * In a real fleet storage is on a separate machine. Here it shares two cores with what is measured, so it is configured
 * to do no extra work: a single gateway may cache the bucket's record, and nobody reads its debug log.
 */
const quietStorage = {
  lifecycleDaySeconds: 86_400,
  config: [
    'rgw cache enabled = true',
    '[global]',
    // threads that pass each request to each other
    'ms async op threads = 1',
    'osd op num shards = 1',
    'osd op num threads per shard = 1',
    'ms crc data = false',
    ...['osd', 'ms', 'bluestore', 'objclass', 'rgw', 'mon', 'mgr', 'auth', 'finisher', 'objecter'].map(
      (part) => `debug ${part} = 0/0`,
    ),
  ],
}

/** Runs a benchmark with real services, started as in the tests, and stops them afterwards. */
export async function whileServicesRun(
  action: (t: Cleanup, services: Services) => Promise<void>,
): Promise<void> {
  const cleanup = ownCleanup()
  try {
    await action(cleanup, await provideAll(cleanup, quietStorage))
  } finally {
    await cleanup.end()
  }
}
