import { randomBytes } from 'node:crypto'
import { AppError } from '../../jobs/errors.ts'
import { bestEffort, type Log } from '../../jobs/log.ts'
import { StorageFault } from './faults.ts'
import type { Objects } from './objects.ts'

/**
 * What happens to a write conditional on absence.
 *
 * - honoured: refused if the object exists
 * - ignored: it replaces the object
 * - refused: the storage does not support conditions
 * - unknown: the storage was full when tested
 */
export type Conditional = 'honoured' | 'ignored' | 'refused' | 'unknown'

/** The server answers, but not like S3. */
export class NoStorage extends Error {
  override readonly name = 'NoStorage'
}

export const probeFolder = 'probe/'
const probeName = /^probe\/[0-9a-f]{32}$/

export function isProbe(key: string): boolean {
  return probeName.test(key)
}

/** Reads, writes and deletes an object of its own, to check that everything the store needs is permitted and works. */
export async function probe(objects: Objects, log: Log): Promise<Conditional> {
  const key = probeFolder + randomBytes(16).toString('hex')
  const body = randomBytes(16)
  // Reading comes first: it works without room left, and a store that answers a missing object with a refusal would
  // make every new job look like a fault.
  if ((await objects.get(key)) !== undefined)
    throw new NoStorage('it returns an object that was never written')
  try {
    await objects.put(key, body, 'application/json')
  } catch (thrown) {
    if (!(thrown instanceof AppError) || thrown.code !== 'storage_full') throw thrown
    log.warn({ err: thrown }, 'the storage has no room left: jobs fail until expired results are deleted')
    return 'unknown'
  }
  try {
    const conditional = await askForCondition(objects, key, body)
    const found = await objects.get(key)
    if (found === undefined || !body.equals(found)) throw new NoStorage('it does not return what was written')
    await objects.delete(key)
    if (conditional !== 'honoured') {
      log.warn(
        { conditional },
        'the storage does not support conditional writes: if two workers finish the same job at the same moment, the later may replace the result of the earlier',
      )
    }
    return conditional
  } catch (thrown) {
    await bestEffort(log, 'deleting the object of a probe', objects.delete(key))
    throw thrown
  }
}

async function askForCondition(objects: Objects, key: string, body: Uint8Array): Promise<Conditional> {
  try {
    return (await objects.putFirst(key, body, 'application/json')) ? 'ignored' : 'honoured'
  } catch (thrown) {
    if (thrown instanceof StorageFault && (thrown.status === 501 || thrown.reason === 'NotImplemented'))
      return 'refused'
    throw thrown
  }
}
