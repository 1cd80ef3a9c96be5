import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { createClient } from '@redis/client'
import { Value } from 'typebox/value'
import { connect } from '../../src/adapters/s3/connection.ts'
import { jobOfKey, runOfKey } from '../../src/adapters/s3/keys.ts'
import { bucketObjects } from '../../src/adapters/s3/objects.ts'
import { Manifest } from '../../src/jobs/job.ts'
import { waitFor } from '../kit/waiting.ts'
import { keepingLog } from '../quiet-log.ts'
import { messagesOf } from '../services/broker-namespace.ts'
import type { Services } from '../services/provide.ts'
import type { Fleet } from './fleet.ts'

/** What must be true of a fleet at the end, read past its proxies and without its servers. */

export interface TruthOptions {
  /** Maximum number of messages in the parked queue; 0 by default. */
  readonly parked?: number
  /**
   * Whether there may be finished jobs that no client was told about: a request that was answered 503 because its
   * confirm was lost is made all the same. They must still be complete.
   */
  readonly others?: boolean
  /** Jobs that were stopped with the pictures that were done. */
  readonly stopped?: readonly string[]
}

export interface Stored {
  readonly manifests: ReadonlyMap<string, Manifest>
  /** The sha-256 of each picture, by `id/index.png`. */
  readonly pictures: ReadonlyMap<string, string>
  /** A description of each object that should not be in the storage. */
  readonly faults: readonly string[]
}

/**
 * Returns a description of each violation; none when all is well:
 *
 * - each accepted job has one manifest of a final status, and no job has one that was not accepted
 * - a job has `succeeded` exactly if all its pictures are there, with the hashes of its manifest
 * - no object is truncated, none is foreign, no probe is left
 * - every queue is empty, and every Redis key expires
 *
 * Processes that still run must be idle: what they hold is not visible.
 */
export async function checkTruth(
  fleet: Fleet,
  services: Services,
  accepted: readonly string[],
  options: TruthOptions = {},
): Promise<string[]> {
  const [stored, queues, keys] = await Promise.all([
    readStorage(fleet, services),
    checkQueues(fleet, services, options.parked ?? 0),
    checkRedis(fleet, services),
  ])
  return [...stored.faults, ...checkJobs(stored, accepted, options), ...queues, ...keys]
}

/**
 * Asserts that nothing is wrong. A client may be told of the end of a job before the last messages about it are
 * handled: a discrepancy has some time to resolve.
 */
export async function assertTruth(
  fleet: Fleet,
  services: Services,
  accepted: readonly string[],
  options: TruthOptions = {},
): Promise<void> {
  let faults: readonly string[] = []
  const isTrue = async () => {
    faults = await checkTruth(fleet, services, accepted, options)
    return faults.length === 0
  }
  await waitFor(isTrue, 30_000).catch(() => assert.deepEqual(faults, []))
}

/** Everything below the prefix of a fleet, each object read and compared with the hash that was stored with it. */
export async function readStorage(fleet: Fleet, services: Services): Promise<Stored> {
  const { accessKeyId, secretAccessKey, region, s3Endpoint, storageUrl } = services
  const url = `${storageUrl}/${fleet.namespace}`
  const credentials = { accessKeyId, secretAccessKey }
  const connection = connect({ url, endpoint: s3Endpoint, region, credentials, log: keepingLog() })
  const objects = bucketObjects(connection)
  const manifests = new Map<string, Manifest>()
  const pictures = new Map<string, string>()
  const faults: string[] = []
  const read = async (key: string) => {
    // what a run stores is checked by what it answers
    if (runOfKey(key) !== undefined) return
    const job = jobOfKey(key)
    if (job === undefined) return void faults.push(`a foreign object is in the storage: ${key}`)
    const bytes = await objects.get(key).catch((thrown: unknown) => void faults.push(String(thrown)))
    if (bytes === undefined) return
    if (!job.isManifest) return void pictures.set(`${job.id}/${key.split('/').at(-1)}`, sha256Of(bytes))
    try {
      const manifest = Value.Parse(Manifest, JSON.parse(Buffer.from(bytes).toString()))
      if (manifest.id !== job.id) faults.push(`the manifest ${key} is that of ${manifest.id}`)
      manifests.set(job.id, manifest)
    } catch (thrown) {
      faults.push(`the manifest ${key} is none: ${thrown}`)
    }
  }
  try {
    for await (const page of objects.list('')) {
      const keys = page.objects.map((object) => object.key)
      while (keys.length > 0) await Promise.all(keys.splice(0, 8).map(read))
    }
  } finally {
    connection.close()
  }
  return { manifests, pictures, faults }
}

/** Pictures without a place in a manifest are allowed where the job failed or was canceled halfway. */
function checkJobs(
  { manifests, pictures }: Stored,
  accepted: readonly string[],
  { others = false, stopped = [] }: TruthOptions,
): string[] {
  const faults: string[] = []
  if (new Set(accepted).size !== accepted.length) faults.push('an id was accepted for two jobs')
  for (const id of accepted) {
    if (!manifests.has(id)) faults.push(`job ${id} was accepted and has no manifest`)
  }
  const owned = new Set<string>()
  for (const [id, { status, request, images, error }] of manifests) {
    if (!others && !accepted.includes(id)) faults.push(`job ${id} was never accepted and is ${status}`)
    const expected = status === 'succeeded' ? request.count : 0
    const fits = stopped.includes(id) ? images.length <= expected : images.length === expected
    if (!fits) faults.push(`job ${id} is ${status} with ${images.length} pictures`)
    if ((error !== undefined) !== (status === 'failed'))
      faults.push(`job ${id} is ${status}, error: ${error}`)
    for (const { index, sha256 } of images) {
      const name = `${id}/${index}.png`
      owned.add(name)
      if (pictures.get(name) !== sha256)
        faults.push(`${name} has the hash ${pictures.get(name)}, not ${sha256}`)
    }
  }
  for (const name of pictures.keys()) {
    const status = manifests.get(name.split('/')[0] ?? '')?.status
    if (status === undefined) faults.push(`${name} belongs to a job without a manifest`)
    if (status === 'succeeded' && !owned.has(name)) faults.push(`${name} is in no manifest`)
  }
  return faults
}

async function checkQueues(fleet: Fleet, services: Services, parked: number): Promise<string[]> {
  const found = await messagesOf(services.queueUrl, fleet.namespace)
  return Object.entries(found)
    .filter(([queue, count]) => count > (queue === `${fleet.namespace}.parked.v1` ? parked : 0))
    .map(([queue, count]) => `${count} messages are left in ${queue}`)
}

async function checkRedis(fleet: Fleet, services: Services): Promise<string[]> {
  const client = createClient({ url: services.statusUrl })
  client.on('error', () => {})
  await client.connect()
  try {
    const faults: string[] = []
    for await (const keys of client.scanIterator({ MATCH: `${fleet.namespace}:*`, COUNT: 1000 })) {
      for (const key of keys) {
        if ((await client.pTTL(key)) === -1) faults.push(`the Redis key ${key} never expires`)
      }
    }
    return faults
  } finally {
    client.destroy()
  }
}

export function sha256Of(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
