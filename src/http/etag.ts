import { hash } from 'node:crypto'
import type { FastifyRequest } from 'fastify'

/** An entity tag of what a client would see change. Weak: estimates in the answer may differ under the same tag. */
export function weakTag(content: unknown): string {
  return `W/"${hash('sha256', JSON.stringify(content), 'base64url').slice(0, 22)}"`
}

/** Whether the client has this version already (If-None-Match compares weakly). */
export function isUnchanged(request: FastifyRequest, tag: string): boolean {
  const given = request.headers['if-none-match']
  if (given === undefined) return false
  const opaque = (text: string) => text.trim().replace(/^W\//, '')
  return given.trim() === '*' || given.split(',').some((each) => opaque(each) === opaque(tag))
}
