import sharp from 'sharp'

export interface RawPicture {
  /** 8 bits a channel, row by row. */
  readonly pixels: Uint8Array
  readonly width: number
  readonly height: number
  readonly channels: 1 | 3
}

/** The same picture in another size. With one channel nothing overshoots: a matte has no rings. */
export async function resized(
  { pixels, width, height, channels }: RawPicture,
  wanted: { readonly width: number; readonly height: number },
): Promise<Uint8Array> {
  if (wanted.width === width && wanted.height === height) return pixels
  const image = sharp(pixels, { raw: { width, height, channels } }).resize(wanted.width, wanted.height, {
    fit: 'fill',
    kernel: channels === 1 ? 'linear' : 'lanczos3',
  })
  if (channels === 1) image.toColourspace('b-w')
  const { data, info } = await image.raw().toBuffer({ resolveWithObject: true })
  if (info.channels === channels) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  return Uint8Array.from({ length: info.width * info.height }, (_, i) => data[i * info.channels] ?? 0)
}
