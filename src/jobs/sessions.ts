import { createHmac, timingSafeEqual } from 'node:crypto'
import { type Static, Type } from 'typebox'
import { Value } from 'typebox/value'

/**
 * The session of a browser whose user signed in with a key: a signed text that names the key and does not contain it.
 * No server keeps sessions; whether the key is still good is looked up with each request.
 */

const Session = Type.Object({ name: Type.String(), key: Type.String(), until: Type.Number() })
type Session = Static<typeof Session>

export interface Sessions {
  issue(name: string, keyId: string, now: Date): string
  /** Undefined for a text that was not issued here, or is too old. */
  read(text: string, now: Date): Pick<Session, 'name' | 'key'> | undefined
}

export const sessionSeconds = 7 * 86_400

/** @param secrets the first signs, all are accepted */
export function createSessions(secrets: readonly Uint8Array[]): Sessions {
  const [first = new Uint8Array()] = secrets
  const mac = (secret: Uint8Array, payload: string) =>
    createHmac('sha256', secret).update(`session:${payload}`).digest()
  return {
    issue(name, key, now) {
      const session: Session = { name, key, until: now.getTime() + sessionSeconds * 1000 }
      const payload = Buffer.from(JSON.stringify(session)).toString('base64url')
      return `${payload}.${mac(first, payload).toString('base64url')}`
    },
    read(text, now) {
      const [payload = '', given = '', ...more] = text.split('.')
      const sent = Buffer.from(given, 'base64url')
      const isOurs = (secret: Uint8Array) => sent.length === 32 && timingSafeEqual(mac(secret, payload), sent)
      if (more.length > 0 || !secrets.some(isOurs)) return undefined
      const session: unknown = JSON.parse(Buffer.from(payload, 'base64url').toString())
      return Value.Check(Session, session) && session.until > now.getTime() ? session : undefined
    },
  }
}
