import type { FastifyRequest } from 'fastify'
import type { Caller, Credentials } from '../jobs/caller.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Whose request it is; set before any route sees it. */
    caller: Caller
  }
}

/** What a request brings to be recognised by. */
export function credentialsOf({ ip, headers }: FastifyRequest): Credentials {
  const { authorization } = headers
  return { address: ip, ...(authorization === undefined ? {} : { authorization }) }
}
