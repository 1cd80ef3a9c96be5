import { buffer } from 'node:stream/consumers'
import type { StoredFile, Thumbnailer } from '../ports.ts'
import type { AnswerDeps } from './job-view.ts'
import { getLinked, getPicture, type PictureFile } from './picture.ts'

/** The two sizes that there are: the longer side in pixels. The smaller one is for rows of many. */
export const thumbnailSides = [384, 128] as const
export type ThumbnailSide = (typeof thumbnailSides)[number]

/** A picture in small. A picture never changes, nor does this. */
export interface Thumbnail extends Omit<PictureFile, 'open'> {
  readonly side: ThumbnailSide
  /**
   * A WebP file; undefined if it cannot be made now, or not of this picture: then the picture itself is there. Rejects as
   * the `open` of a picture does.
   */
  make(): Promise<Uint8Array | undefined>
}

export interface ThumbnailDeps extends AnswerDeps {
  readonly thumbnails: Thumbnailer
}

/** Rejects as `getPicture` does: whoever may see a picture may see it in small. */
export async function getThumbnail(
  deps: ThumbnailDeps,
  id: string,
  index: number,
  { side, owner }: { readonly side: ThumbnailSide; readonly owner: string },
): Promise<Thumbnail> {
  return thumbnailOf(deps, await getPicture(deps, id, index, owner), side)
}

/** Rejects as `getLinked` does. */
export async function getLinkedThumbnail(
  deps: ThumbnailDeps,
  link: string,
  side: ThumbnailSide,
): Promise<Thumbnail> {
  return thumbnailOf(deps, await getLinked(deps, link), side)
}

function thumbnailOf(
  { thumbnails }: ThumbnailDeps,
  { open, ...picture }: PictureFile,
  side: ThumbnailSide,
): Thumbnail {
  return { ...picture, side, make: () => thumbnails(side, async () => bytesOf(await open())) }
}

async function bytesOf({ body }: StoredFile): Promise<Uint8Array> {
  return body instanceof Uint8Array ? body : buffer(body)
}
