import type { Cleanup } from '../cleanup.ts'
import { speaksAmqp, speaksHttp, speaksRedis } from './answers.ts'
import { createBucket } from './buckets.ts'
import { dockerIsReachable, startContainer, untilContainerAnswers } from './docker.ts'
import { startRabbitmq } from './rabbitmq.ts'
import { startRedis } from './redis.ts'
import { type RgwOptions, startRgw } from './rgw.ts'

/**
 * A real service for tests, from the first of these that there is: an address in the environment, Docker, programs
 * of this machine. Each rejects with what is missing and how to get it.
 */

export interface Storage {
  /** `s3://BUCKET`, and the bucket exists. */
  readonly storageUrl: string
  readonly s3Endpoint: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly region: string
}

const bucket = 'packshot-test'
const region = 'us-east-1'

export interface Services extends Storage {
  readonly queueUrl: string
  readonly statusUrl: string
}

/** All three, started at the same time. When one fails, those still on their way are waited for, so that `t` ends them. */
export async function provideAll(t: Cleanup, rgw: RgwOptions = {}): Promise<Services> {
  const [queue, status, storage] = await Promise.allSettled([
    provideQueue(t),
    provideStatus(t),
    provideStorage(t, rgw),
  ])
  if (queue.status === 'rejected') throw queue.reason
  if (status.status === 'rejected') throw status.reason
  if (storage.status === 'rejected') throw storage.reason
  return { queueUrl: queue.value, statusUrl: status.value, ...storage.value }
}

/** All three, as the variables by which `services.ts` and these functions find them. */
export async function provideEnvironment(t: Cleanup): Promise<Record<string, string>> {
  const began = performance.now()
  const all = await provideAll(t)
  console.log(`The services for the tests are up after ${((performance.now() - began) / 1000).toFixed(1)} s.`)
  return {
    TEST_QUEUE_URL: all.queueUrl,
    TEST_STATUS_URL: all.statusUrl,
    TEST_STORAGE_URL: all.storageUrl,
    TEST_S3_ENDPOINT: all.s3Endpoint,
    AWS_ACCESS_KEY_ID: all.accessKeyId,
    AWS_SECRET_ACCESS_KEY: all.secretAccessKey,
    AWS_REGION: all.region,
  }
}

export async function provideQueue(t: Cleanup): Promise<string> {
  const given = process.env.TEST_QUEUE_URL
  if (given) return given
  if (await dockerIsReachable()) {
    const image = 'rabbitmq:4.3'
    const port = await startContainer(t, { image, port: 5672 })
    await untilContainerAnswers(image, () => speaksAmqp(port))
    return `amqp://guest:guest@127.0.0.1:${port}`
  }
  return (await startRabbitmq(t)).url
}

export async function provideStatus(t: Cleanup): Promise<string> {
  const given = process.env.TEST_STATUS_URL
  if (given) return given
  if (await dockerIsReachable()) {
    const image = 'valkey/valkey:8'
    const port = await startContainer(t, { image, port: 6379 })
    await untilContainerAnswers(image, () => speaksRedis(port))
    return `redis://127.0.0.1:${port}`
  }
  return (await startRedis(t)).url
}

export async function provideStorage(t: Cleanup, rgw: RgwOptions = {}): Promise<Storage> {
  if (process.env.TEST_STORAGE_URL) return storageOfEnvironment(process.env.TEST_STORAGE_URL)
  const access = (await dockerIsReachable())
    ? await siloContainer(t)
    : await startRgw(t, { cache: true, ...rgw })
  await createBucket(access, bucket)
  const { endpoint: s3Endpoint, accessKeyId, secretAccessKey } = access
  return { storageUrl: `s3://${bucket}`, s3Endpoint, accessKeyId, secretAccessKey, region }
}

function storageOfEnvironment(storageUrl: string): Storage {
  const value = (name: string) => {
    const found = process.env[name]
    if (!found) throw new Error(`TEST_STORAGE_URL is set, and then ${name} must be set too.`)
    return found
  }
  return {
    storageUrl,
    s3Endpoint: value('TEST_S3_ENDPOINT'),
    accessKeyId: value('AWS_ACCESS_KEY_ID'),
    secretAccessKey: value('AWS_SECRET_ACCESS_KEY'),
    region: process.env.AWS_REGION || region,
  }
}

async function siloContainer(t: Cleanup) {
  const image = 'pgsty/silo'
  const [accessKeyId, secretAccessKey] = ['test', 'testsecret']
  const env = { MINIO_ROOT_USER: accessKeyId, MINIO_ROOT_PASSWORD: secretAccessKey }
  const port = await startContainer(t, { image, port: 9000, env, command: ['server', '/data'] })
  const endpoint = `http://127.0.0.1:${port}`
  await untilContainerAnswers(image, () => speaksHttp(`${endpoint}/minio/health/ready`))
  return { endpoint, accessKeyId, secretAccessKey, region }
}
