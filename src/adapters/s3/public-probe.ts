import { randomBytes } from 'node:crypto'
import { AppError, messageOf } from '../../jobs/errors.ts'
import { bestEffort, type Log } from '../../jobs/log.ts'
import type { Objects } from './objects.ts'
import { probeFolder } from './probe.ts'

const param = 'PACKSHOT_S3_PUBLIC_ENDPOINT'
const answerMs = 5000
const signedSeconds = 60

/**
 * Fetches an object of its own by a signed address, as a browser will. Rejects with the variable's name if the storage
 * refuses the address: no browser would see a picture. If nothing answers, or something else than the storage does,
 * it warns: the address may be meant for other networks than this machine's.
 */
export async function probePublic(objects: Objects, endpoint: string, log: Log): Promise<void> {
  if (objects.addressOf === undefined) return
  const key = probeFolder + randomBytes(16).toString('hex')
  const body = randomBytes(16)
  await objects.put(key, body, 'application/json')
  try {
    const address = await objects.addressOf(key, 'application/json', signedSeconds)
    const answer = await fetched(address)
    if (answer.bytes !== undefined && body.equals(answer.bytes)) return
    const s3Code = /<Error>.*<Code>(\w+)<\/Code>/s.exec(String(answer.bytes ?? ''))?.[1]
    if (s3Code !== undefined && answer.status < 500) throw refused(endpoint, s3Code)
    log.warn(
      { endpoint, status: answer.status, reason: answer.reason },
      `${param} cannot be used from this machine: browsers elsewhere may still reach it; if they do not, they see no pictures`,
    )
  } finally {
    await bestEffort(log, 'deleting the object of a probe', objects.delete(key))
  }
}

interface Answer {
  /** 0 if there was none. */
  readonly status: number
  readonly bytes?: Buffer
  readonly reason?: string
}

async function fetched(address: string): Promise<Answer> {
  try {
    const response = await fetch(address, { signal: AbortSignal.timeout(answerMs) })
    const bytes = Buffer.from(await response.arrayBuffer())
    return { status: response.status, bytes, reason: `HTTP ${response.status}` }
  } catch (thrown) {
    const cause = thrown instanceof Error && thrown.cause !== undefined ? thrown.cause : thrown
    return { status: 0, reason: messageOf(cause) }
  }
}

function refused(endpoint: string, code: string): AppError {
  const hint =
    code === 'SignatureDoesNotMatch'
      ? 'The signature covers host and path, so both must arrive at the storage as the browser sent them: let the proxy pass Host on (nginx: proxy_set_header Host $http_host) and leave the path as it is, without a prefix of its own.'
      : 'It must lead to the same storage, with the path unchanged.'
  return new AppError(
    'unavailable',
    `The storage refuses signed addresses at ${endpoint} (${code}), so browsers would see no pictures. Correct ${param}. ${hint}`,
    { param },
  )
}
