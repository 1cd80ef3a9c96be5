import { createHash, randomBytes } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import type { Services } from '../../services.ts'
import type { ImageCall } from './request.ts'

/** Longer than all tries of one call take: each is held for minutes. */
const rememberedSeconds = 1800

/**
 * The idempotency key of a call, so that its repeats get the jobs of the first try.
 *
 * The client library repeats a call that was answered 5xx, or not in time, and sends no key: without one three jobs would
 * be made and paid for. It numbers its tries in `X-Stainless-Retry-Count`. So the first try has a random key, which is
 * noted under the caller and the call; a repeat (number above 0) takes the key that is noted, whether its job was accepted
 * or not. Two calls that happen to ask for the same are both first tries, and get two pictures. With the note lost a repeat
 * is a new job: that costs time, and is never wrong. Undefined for clients that do not number their tries.
 */
export async function keyOf(
  services: Services,
  { caller, headers }: FastifyRequest,
  call: ImageCall,
): Promise<string | undefined> {
  const tries = headers['x-stainless-retry-count']
  if (typeof tries !== 'string') return undefined
  const asked = createHash('sha256').update(JSON.stringify(call)).digest('base64url')
  const name = `openai:${asked}`
  const known = Number(tries) > 0 ? await services.noted(caller, name) : undefined
  if (known !== undefined) return known
  const key = `openai-${randomBytes(16).toString('hex')}`
  await services.note(caller, name, key, rememberedSeconds)
  return key
}
