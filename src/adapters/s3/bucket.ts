import { type Connection, type ConnectionOptions, connect } from './connection.ts'
import { bucketObjects, type Objects } from './objects.ts'
import { type Conditional, probe } from './probe.ts'
import { probePublic } from './public-probe.ts'
import { setUp } from './set-up.ts'
import { credentialsFound, untilUsable } from './start.ts'

export interface BucketOptions extends ConnectionOptions {
  /** How long to wait for storage that does not answer yet, in ms. */
  readonly startMs?: number
}

/** A bucket and prefix that were found usable. Keys are relative to the prefix. */
export interface Bucket extends Objects {
  /** Whether a write conditional on absence is correctly refused. */
  readonly conditional: Conditional
  close(): Promise<void>
}

/**
 * Tests the bucket with an object of its own under `probe/` and returns it. Rejects with an `AppError` that names
 * the invalid variable: at once when retrying cannot help, after `startMs` when the storage does not answer.
 * A full bucket opens too, so that expired results can be deleted.
 */
export async function openBucket(options: BucketOptions): Promise<Bucket> {
  const connection = connect(options)
  return closingOnFault(connection, async () => {
    await credentialsFound(connection, options)
    const objects = bucketObjects(connection)
    const conditional = await untilUsable(connection, options, () => probe(objects, options.log))
    const { publicEndpoint } = connection.place
    // a full storage takes no object to try it with
    if (publicEndpoint !== undefined && conditional !== 'unknown') {
      await untilUsable(connection, options, () => probePublic(objects, publicEndpoint, options.log))
    }
    return { ...objects, conditional, close: async () => connection.close() }
  })
}

/**
 * Creates the bucket if it does not exist, and sets the rule by which the storage itself deletes results a day or
 * more after they expire. Other rules of the bucket stay. Rejects like `openBucket`.
 */
export async function setUpBucket(
  options: BucketOptions & { ttlSeconds: number; catalogueTtlSeconds?: number },
): Promise<void> {
  const connection = connect(options)
  await closingOnFault(connection, async () => {
    await credentialsFound(connection, options)
    await untilUsable(connection, options, () => setUp(connection, options))
  })
  connection.close()
}

async function closingOnFault<T>(connection: Connection, action: () => Promise<T>): Promise<T> {
  try {
    return await action()
  } catch (thrown) {
    connection.close()
    throw thrown
  }
}
