import type { FastifyReply } from 'fastify'
import { zipStream } from '../../jobs/catalogue/zip-stream.ts'
import { toAppError } from '../../jobs/errors.ts'
import { type ImageFormat, imageFiles } from '../../jobs/fields.ts'
import type { StoredFile } from '../../jobs/ports.ts'
import { zipName } from '../content-disposition.ts'

interface Packed {
  readonly prompt: string
  readonly seed: number
  readonly format: ImageFormat
  open(): Promise<StoredFile>
}

/** Sends pictures as a ZIP, each under a name of its own; those that are gone are left out. */
export function sendZip<Key>(
  reply: FastifyReply,
  keys: readonly Key[],
  find: (key: Key) => Promise<Packed>,
): FastifyReply {
  const named = new Map<string, number>()
  const zip = zipStream(new Date(), async (writer) => {
    for (const key of keys) {
      if (writer.over) return
      const file = await find(key).catch((thrown: unknown) => {
        if (isGone(thrown)) return undefined
        throw thrown
      })
      if (file === undefined) continue
      const stored = await file.open()
      const { extension } = imageFiles[file.format]
      const name = zipName(file.prompt, file.seed)
      const before = named.get(name) ?? 0
      named.set(name, before + 1)
      await writer.add(`${name}${before === 0 ? '' : `-${before + 1}`}.${extension}`, stored)
    }
  })
  return reply
    .headers({ 'content-disposition': 'attachment; filename="packshot.zip"', 'cache-control': 'no-store' })
    .type('application/zip')
    .send(zip)
}

/** Or not there yet. */
export const isGone = (thrown: unknown) =>
  ['not_found', 'not_ready', 'expired', 'deleted'].includes(toAppError(thrown).code)
