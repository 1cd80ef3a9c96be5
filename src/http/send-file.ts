import { Readable } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { StoredFile } from '../jobs/ports.ts'

/**
 * Sends a file with its length. To HEAD only the length: fastify would read a stream to its end. Rejects like `open`.
 */
export async function sendFile(
  request: FastifyRequest,
  reply: FastifyReply,
  open: () => Promise<StoredFile>,
): Promise<FastifyReply> {
  const { bytes, body } = await open()
  reply.header('content-length', bytes)
  if (request.method !== 'HEAD') return reply.send(body instanceof Readable ? body : asBuffer(body))
  if (body instanceof Readable) body.destroy()
  return reply.send(Readable.from([]))
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
