import { setTimeout as sleep } from 'node:timers/promises'
import { AppError } from '../../jobs/errors.ts'
import { Manifest } from '../../jobs/job.ts'
import { fromJson } from '../../jobs/stored-json.ts'
import { DamagedManifest } from '../../jobs/stored-names.ts'
import type { Bucket } from './bucket.ts'
import { manifestKey } from './keys.ts'
import { DamagedObject } from './objects.ts'

/** Undefined when there is none. Rejects `DamagedManifest`. */
export async function readManifest(bucket: Bucket, id: string): Promise<Manifest | undefined> {
  const key = manifestKey(id)
  const bytes = await bucket.get(key).catch((thrown: unknown) => {
    throw thrown instanceof DamagedObject ? new DamagedManifest(key, thrown) : thrown
  })
  if (bytes === undefined) return undefined
  try {
    return fromJson(Manifest, Buffer.from(bytes).toString())
  } catch (cause) {
    throw new DamagedManifest(key, cause)
  }
}

/** Overwrites the manifest of a final job. */
export async function replaceManifest(bucket: Bucket, manifest: Manifest): Promise<void> {
  await bucket.put(manifestKey(manifest.id), bytesOf(manifest), 'application/json')
}

function bytesOf(manifest: Manifest): Buffer {
  return Buffer.from(JSON.stringify(manifest, undefined, 2))
}

const tries = 3
/** Minimum wait for another writer that is between its check and its write. */
const settleMs = 300

/**
 * Writes the manifest unless there is one; returns the one that is stored. A write whose answer was lost is found
 * by the next attempt.
 */
export async function commitManifest(bucket: Bucket, manifest: Manifest): Promise<Manifest> {
  const { id } = manifest
  const key = manifestKey(id)
  const body = bytesOf(manifest)
  for (let attempt = 0; attempt < tries; attempt += 1) {
    const first =
      bucket.conditional === 'honoured'
        ? await bucket.putFirst(key, body, 'application/json')
        : await putCarefully(bucket, id, body)
    if (first) return manifest
    const standing = await readManifest(bucket, id)
    if (standing !== undefined) return standing
  }
  throw new AppError('unavailable', 'The stored result of this job disappeared after it was written.', {
    detail: `The manifest ${key} disappeared after it was written.`,
  })
}

/**
 * Without conditions the last of several writers wins. So: write only if there is nothing, and read again once any
 * other writer that saw nothing must have written. Always returns false: what is stored then counts.
 */
async function putCarefully(bucket: Bucket, id: string, body: Uint8Array): Promise<false> {
  const start = performance.now()
  if ((await readManifest(bucket, id)) !== undefined) return false
  // A condition costs nothing if ignored, and decides if support was unknown at startup.
  const write = bucket.conditional === 'refused' ? bucket.put : bucket.putFirst
  await write(manifestKey(id), body, 'application/json')
  // another writer may be several times as slow as this one
  await sleep(Math.max(settleMs, 4 * (performance.now() - start)))
  return false
}
