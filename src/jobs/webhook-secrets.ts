import { createHmac, hkdfSync } from 'node:crypto'

/**
 * What webhooks are signed with, by Standard Webhooks 1.0.0: HMAC-SHA-256 with a secret that each caller has for itself.
 * Nothing is stored: it is derived from the installation's secret, the caller's name and the generation that the keys
 * file gives it. A new generation is a new secret. The one before signs too, so that a receiver may change to the new
 * one at any time; a signature that it does not expect is ignored. The same holds for several installation's secrets.
 */
export interface WebhookSecrets {
  /** The current secret of a caller as it is shown: `whsec_` and base64. */
  shown(caller: string, generation: number): string
  /** The value of `webhook-signature` for a message, with an item for each secret that a receiver may have. */
  sign(caller: string, generation: number, message: SignedMessage): string
}

interface SignedMessage {
  readonly id: string
  /** Unix seconds of this try. */
  readonly timestamp: number
  readonly body: string
}

const bytes = 32

/** @param secrets those of the installation: the first is the current one */
export function createWebhookSecrets(...secrets: readonly [Uint8Array, ...Uint8Array[]]): WebhookSecrets {
  const derive = (secret: Uint8Array, caller: string, generation: number) =>
    Buffer.from(hkdfSync('sha256', secret, '', `webhooks ${generation} ${caller}`, bytes))
  return {
    shown: (caller, generation) => `whsec_${derive(secrets[0], caller, generation).toString('base64')}`,
    sign(caller, generation, message) {
      const generations = generation > 1 ? [generation, generation - 1] : [generation]
      const keys = secrets.flatMap((secret) => generations.map((each) => derive(secret, caller, each)))
      return keys.map((key) => signatureOf(key, message)).join(' ')
    },
  }
}

/** One item of a `webhook-signature` header. */
export function signatureOf(key: Uint8Array, { id, timestamp, body }: SignedMessage): string {
  return `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')}`
}
