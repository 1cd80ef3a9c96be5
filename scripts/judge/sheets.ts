import sharp from 'sharp'
import type { Picture } from '../../src/diffusion/request.ts'

const gap = 4

/**
 * Pictures of one size side by side, in reading order. Words are not drawn: there may be no font; they stand beside the
 * sheet.
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
