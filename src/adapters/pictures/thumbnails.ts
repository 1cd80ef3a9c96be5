import sharp from 'sharp'
import type { Thumbnailer } from '../../jobs/ports.ts'

/** Pictures that wait for their turn. None is in memory before: it is read when its turn comes. */
const mostWaiting = 64
const longestSeconds = 10
/** Pictures have at most 16.7 megapixels: this only stops what is none of ours. */
const mostPixels = 64e6
const quality = 80

/**
 * Small WebP files of pictures, by libvips, which reads a picture in strips. So memory holds the files of `atOnce` pictures
 * and little more. Each takes 5 to 100 ms of processor time, by the size of the picture.
 * @param atOnce 0: none is made
 */
export function thumbnailer({ atOnce }: { readonly atOnce: number }): Thumbnailer {
  const waiting: (() => void)[] = []
  let running = 0
  return async (side, read) => {
    if (running < atOnce) running += 1
    else {
      if (atOnce === 0 || waiting.length >= mostWaiting) return undefined
      await new Promise<void>((resolve) => waiting.push(resolve))
    }
    try {
      return await small(await read(), side)
    } finally {
      // the next in line takes this slot
      const next = waiting.shift()
      if (next === undefined) running -= 1
      else next()
    }
  }
}

/** Undefined for a file that libvips cannot read. */
async function small(bytes: Uint8Array, side: number): Promise<Uint8Array | undefined> {
  const image = sharp(bytes, { limitInputPixels: mostPixels }).timeout({ seconds: longestSeconds })
  const fitted = image.resize({ width: side, height: side, fit: 'inside', withoutEnlargement: true })
  return fitted
    .webp({ quality, effort: 2 })
    .toBuffer()
    .catch(() => undefined)
}
