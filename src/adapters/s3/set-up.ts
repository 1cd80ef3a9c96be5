import { createHash } from 'node:crypto'
import {
  CreateBucketCommand,
  GetBucketLifecycleConfigurationCommand,
  type LifecycleRule,
  ListObjectsV2Command,
  PutBucketLifecycleConfigurationCommand,
  type S3Client,
} from '@aws-sdk/client-s3'
import { uploadKeptSeconds } from '../../jobs/job-id.ts'
import type { Log } from '../../jobs/log.ts'
import type { Connection } from './connection.ts'
import { StorageFault, unless } from './faults.ts'
import { openRunsPrefix, resultsFolder, runsPrefix, uploadsFolder } from './keys.ts'

/** Creates the bucket and the rule by which the storage itself deletes what the sweep missed. Idempotent. */
export async function setUp(
  connection: Connection,
  options: { readonly ttlSeconds: number; readonly catalogueTtlSeconds?: number; readonly log: Log },
): Promise<void> {
  const { log, ttlSeconds, catalogueTtlSeconds = 0 } = options
  const made = await makeBucket(connection)
  log.info({ bucket: connection.place.bucket }, made ? 'the bucket was created' : 'the bucket exists')
  const daysAfter = (seconds: number) => Math.ceil(seconds / 86_400) + 1
  // the pictures of a run are results, and are kept as long as the run
  const days = daysAfter(Math.max(ttlSeconds, catalogueTtlSeconds))
  const uploadDays = daysAfter(uploadKeptSeconds(ttlSeconds))
  try {
    await setRules(connection, [
      ['packshot-results', resultsFolder, days],
      ['packshot-uploads', uploadsFolder, uploadDays],
      ['packshot-catalogues', runsPrefix, days],
      ['packshot-catalogues-open', openRunsPrefix, days],
    ])
    log.info({ days, uploadDays }, `the storage itself deletes results after ${days} days`)
  } catch (thrown) {
    if (!hasNoRules(thrown)) throw thrown
    log.warn(
      { reason: thrown.reason },
      'the storage does not support lifecycle rules: only the servers delete results, and only while one runs',
    )
  }
}

/** Returns false if it exists. Lists, because only answers with a body distinguish a missing bucket from a wrong key. */
async function makeBucket({ place, client, clientIn, call }: Connection): Promise<boolean> {
  const Bucket = place.bucket
  const listed = await call('ListObjectsV2', (abortSignal) =>
    unless(['NoSuchBucket'], client.send(new ListObjectsV2Command({ Bucket, MaxKeys: 1 }), { abortSignal })),
  )
  if (listed !== undefined) return false
  await call('CreateBucket', async (abortSignal) => {
    const create = (creator: S3Client) =>
      unless(['BucketAlreadyOwnedByYou'], creator.send(new CreateBucketCommand({ Bucket }), { abortSignal }))
    // The SDK sends the region as the bucket's location, as Amazon requires. Other stores have locations of their
    // own, or none; for the region us-east-1 no location is sent.
    const noLocation = place.endpoint === undefined ? [] : ['InvalidLocationConstraint', 'InvalidRegion']
    const made = await unless(
      noLocation,
      create(client).then(() => true),
    )
    if (made) return
    const anywhere = clientIn('us-east-1')
    await create(anywhere).finally(() => anywhere.destroy())
  })
  return true
}

async function setRules(
  { place, client, call }: Connection,
  wanted: readonly (readonly [name: string, folder: string, days: number])[],
): Promise<void> {
  const Bucket = place.bucket
  const rules: LifecycleRule[] = wanted.map(([name, folder, days]) => ({
    // Two installations may share a bucket, each below its prefix.
    ID: place.prefix === '' ? name : `${name} ${place.prefix}`,
    Status: 'Enabled',
    Filter: { Prefix: place.prefix + folder },
    Expiration: { Days: days },
    AbortIncompleteMultipartUpload: { DaysAfterInitiation: 1 },
  }))
  const standing = await call('GetBucketLifecycleConfiguration', (abortSignal) =>
    unless(
      ['NoSuchLifecycleConfiguration'],
      client.send(new GetBucketLifecycleConfigurationCommand({ Bucket }), { abortSignal }),
    ),
  )
  const others = (standing?.Rules ?? []).filter((other) => !rules.some(({ ID }) => ID === other.ID))
  const command = new PutBucketLifecycleConfigurationCommand({
    Bucket,
    LifecycleConfiguration: { Rules: [...others, ...rules] },
  })
  // Stores older than 2025 require the MD5 that the SDK replaced with newer checksums.
  command.middlewareStack.add(
    (next) => (args) => {
      if (isTextRequest(args.request)) {
        args.request.headers['content-md5'] = createHash('md5').update(args.request.body).digest('base64')
      }
      return next(args)
    },
    { step: 'build', name: 'contentMd5' },
  )
  await call('PutBucketLifecycleConfiguration', (abortSignal) => client.send(command, { abortSignal }))
}

function isTextRequest(request: unknown): request is { headers: Record<string, string>; body: string } {
  return (
    typeof request === 'object' &&
    request !== null &&
    'headers' in request &&
    'body' in request &&
    typeof request.body === 'string'
  )
}

function hasNoRules(thrown: unknown): thrown is StorageFault {
  return (
    thrown instanceof StorageFault &&
    thrown.operation.endsWith('LifecycleConfiguration') &&
    (thrown.status === 501 || thrown.status === 405 || thrown.reason === 'NotImplemented')
  )
}
