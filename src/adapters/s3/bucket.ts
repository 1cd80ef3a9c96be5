import { type Connection, type ConnectionOptions, connect } from './connection.ts'
import { bucketObjects, type Objects } from './objects.ts'
import { type Conditional, probe } from './probe.ts'
import { setUp } from './set-up.ts'
import { credentialsFound, untilUsable } from './start.ts'

export interface BucketOptions extends ConnectionOptions {
  /** How long to wait for storage that does not answer yet, in ms. */
  readonly startMs?: number
}

/** A place in a bucket that was found usable. Keys are those below the prefix of its URL. */
export interface Bucket extends Objects {
  /** Whether a write under the condition "unless there is one" is refused as it should be. */
  readonly conditional: Conditional
  close(): Promise<void>
}

/**
 * Tries the bucket with an object of its own under `probe/` and answers it. Rejects with an `AppError` that names
 * the variable at fault: at once when asking again cannot help, after `startMs` when the storage does not answer.
 * A bucket that is full opens too, so that what expired can be deleted.
 */
export async function openBucket(options: BucketOptions): Promise<Bucket> {
  const connection = connect(options)
  return closingOnFault(connection, async () => {
    await credentialsFound(connection, options)
    const objects = bucketObjects(connection)
    const conditional = await untilUsable(connection, options, () => probe(objects, options.log))
    return { ...objects, conditional, close: async () => connection.close() }
  })
}

/**
 * Makes the bucket unless it is there, and sets the rule by which the storage itself deletes results a day or more
 * after their time. Other rules of the bucket stay. Rejects like `openBucket`.
 */
export async function setUpBucket(options: BucketOptions & { ttlSeconds: number }): Promise<void> {
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
