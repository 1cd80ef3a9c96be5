import { S3Client, type S3ClientConfig } from '@aws-sdk/client-s3'
import type { Log } from '../../jobs/log.ts'
import { type Place, type PlaceOptions, placeOf } from './address.ts'
import { reasonOf, StorageFault } from './faults.ts'

interface Credentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

export interface ConnectionOptions extends PlaceOptions {
  readonly region: string
  readonly log: Log
  /** Maximum time for one request, including connecting, one retry and the body; in ms. */
  readonly requestMs?: number
  /** If absent, the SDK looks for them: environment, profile, role of the container or the machine. */
  readonly credentials?: Credentials
}

export interface Connection {
  readonly place: Place
  readonly client: S3Client
  /** Signs URLs for clients: the host is part of a signature. Absent without a public endpoint. */
  readonly publicClient: S3Client | undefined
  /** Another client of the same storage, which the caller destroys. */
  clientIn(region: string): S3Client
  /**
   * Runs one action within `requestMs`; rejects with a `StorageFault`. The action reads the body too, under the same
   * signal, and may be called a second time after the clock was corrected.
   */
  call<T>(operation: string, action: (signal: AbortSignal) => Promise<T>): Promise<T>
  close(): void
}

const maxSockets = 64
/** The SDK itself corrects differences from this on; storage refuses one of 15 minutes. */
const skewMs = 240_000

/** Throws an `AppError` when the options cannot be used. Nothing is sent before the first `call`. */
export function connect(options: ConnectionOptions): Connection {
  const { log, requestMs = 10_000 } = options
  const place = placeOf(options)
  const client = new S3Client(settings(options, place.endpoint))
  const publicClient =
    place.publicEndpoint === undefined ? undefined : new S3Client(settings(options, place.publicEndpoint))

  let toldOffset = 0
  const tellSkew = () => {
    const offset = client.config.systemClockOffset
    if (Math.abs(offset - toldOffset) < skewMs) return
    toldOffset = offset
    const minutes = Math.round(Math.abs(offset) / 60_000)
    const message =
      Math.abs(offset) < skewMs
        ? "the clock of this machine agrees with the storage's again"
        : `the clock of this machine is ${minutes} minutes ${offset > 0 ? 'behind' : 'ahead of'} the storage's: requests are signed with the storage's time; correct the clock, job ids and expiry depend on it`
    log.warn({ clockOffsetMs: offset }, message)
  }

  return {
    place,
    client,
    publicClient,
    clientIn: (region) => new S3Client(settings({ ...options, region }, place.endpoint)),
    async call(operation, action) {
      const signal = AbortSignal.timeout(requestMs)
      try {
        return await action(signal).catch((thrown: unknown) => {
          // The answer that reveals the difference also corrects the offset; the SDK retries the request itself
          // only when the new offset is large, so not after a wrong clock was corrected.
          if (reasonOf(thrown) === 'RequestTimeTooSkewed') return action(signal)
          throw thrown
        })
      } catch (thrown) {
        throw new StorageFault(operation, thrown, {
          bucket: place.bucket,
          timedOut: signal.aborted,
          requestMs,
        })
      } finally {
        tellSkew()
      }
    },
    close() {
      client.destroy()
      publicClient?.destroy()
    },
  }
}

function settings(options: ConnectionOptions, endpoint: string | undefined): S3ClientConfig {
  const { region, credentials, log, requestMs = 10_000 } = options
  const agent = { keepAlive: true, maxSockets }
  const warn = (...content: unknown[]) => log.warn({}, content.join(' '))
  return {
    region,
    // Many stores have no wildcard DNS name for their buckets; Amazon's own requires the bucket in the host name.
    ...(endpoint === undefined ? {} : { endpoint, forcePathStyle: true }),
    ...(credentials === undefined ? {} : { credentials }),
    // Stores older than 2025 reject or break on the checksums that the SDK adds by default.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    expectContinueHeader: false,
    // One retry recovers a kept connection that the storage closed; longer retries are the caller's (storage-retry.ts).
    maxAttempts: 2,
    retryMode: 'standard',
    requestHandler: {
      connectionTimeout: Math.ceil(requestMs / 3),
      requestTimeout: requestMs,
      throwOnRequestTimeout: true,
      httpAgent: agent,
      httpsAgent: agent,
      logger: { trace() {}, debug() {}, info() {}, warn, error: warn },
    },
  }
}
