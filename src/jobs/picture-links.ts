import { AppError } from './errors.ts'
import { createSeals } from './seals.ts'

/**
 * Links to single pictures, for people who may see a picture and nothing else of its job. A link is the encrypted job id
 * and index (AES-256-GCM, as base64url), since the id itself would give more rights. It works as long as the picture is
 * kept.
 */
export interface PictureLinks {
  /** The same picture always has the same link. */
  issue(id: string, index: number): string
  /** Throws `not_found` for a link that was not issued with one of the secrets. */
  open(link: string): { readonly id: string; readonly index: number }
}

/** @param older secrets whose links are still opened */
export function createPictureLinks(secret: Uint8Array, ...older: readonly Uint8Array[]): PictureLinks {
  const seals = createSeals('picture links', secret, ...older)
  return {
    issue: (id, index) => seals.seal(`${index} ${id}`),
    open(link) {
      const [, index, id] = /^(\d{1,4}) (.+)$/.exec(seals.open(link) ?? '') ?? []
      if (id !== undefined) return { id, index: Number(index) }
      throw new AppError('not_found', 'There is no picture with this link.', { param: 'link' })
    },
  }
}
