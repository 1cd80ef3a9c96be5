import type { FastifyRequest } from 'fastify'
import { hostOf } from './hosts.ts'
import { prefixOf, type Trusts } from './peer.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** See `publicAddress` in public-address.ts. */
    publicAddress(): string
  }
}

/**
 * The address of this service as the client of a request reaches it, such as `https://studio.example.com/packshot`:
 * what trusted proxies say of scheme, host and path counts. Without a slash at its end.
 */
export function publicAddress(request: FastifyRequest, trusts: Trusts): string {
  return `${request.protocol}://${hostOf(request)}${prefixOf(request, trusts)}`
}
