import sharp from 'sharp'
import type { Picture } from '../../src/diffusion/request.ts'

const gap = 4

/**
 * A sheet of pictures of one size, in reading order. Captions are not drawn, because there may be no font; they are
 * printed below the sheet.
 * @param side of a picture on the sheet, in pixels
 */
export async function sheetOf(pictures: readonly Picture[], columns: number, side: number): Promise<Buffer> {
  const tiles = pictures.map(async ({ rgb, width, height }, i) => ({
    input: await sharp(rgb, { raw: { width, height, channels: 3 } })
      .resize(side, side, { kernel: 'lanczos3' })
      .png()
      .toBuffer(),
    left: (i % columns) * (side + gap),
    top: Math.floor(i / columns) * (side + gap),
  }))
  const rows = Math.ceil(pictures.length / columns)
  return sharp({
    create: {
      width: columns * (side + gap) - gap,
      height: rows * (side + gap) - gap,
      channels: 3,
      background: '#ffffff',
    },
  })
    .composite(await Promise.all(tiles))
    .jpeg({ quality: 88, chromaSubsampling: '4:4:4', mozjpeg: true })
    .toBuffer()
}
