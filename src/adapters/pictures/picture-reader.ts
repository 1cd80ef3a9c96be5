import sharp, { type Metadata, type Sharp } from 'sharp'
import { AppError } from '../../jobs/errors.ts'
import type { PictureReader, UploadLimits } from '../../jobs/ports.ts'

/**
 * Pictures from outside, read by libvips. Only the PNG, JPEG and WebP loaders are used (the caller has checked the
 * first bytes); a truncated or damaged file is refused rather than filled with grey.
 */

/** Decoding a large photo takes some hundred megabytes: the others wait. */
const atOnce = 2
/** Our own pictures are at most 1024 x 1024; this is not a limit for users, it stops decompression bombs. */
const storedPixels = 64e6
/** A panorama is kept no longer than this many times the longest side of a job: more would be cropped away. */
const longestRatio = 4
const formats = ['png', 'jpeg', 'webp']
/** Half transparent and half grey: where a mask changes its mind. */
const threshold = 128

export function pictureReader(): PictureReader {
  const turn = turns(atOnce)
  return {
    normalise: (bytes, limits) => turn(() => normalise(bytes, limits)),
    fit: (png, width, height, kind) =>
      turn(async () => {
        const image = open(png, storedPixels)
        const pixels =
          kind === 'picture' ? await fitPicture(image, width, height) : await fitMask(image, width, height)
        return { pixels, width, height }
      }).catch(refuse),
  }
}

function open(bytes: Uint8Array, pixels: number): Sharp {
  return sharp(bytes, { limitInputPixels: pixels, failOn: 'error', sequentialRead: false })
}

async function normalise(bytes: Uint8Array, limits: UploadLimits) {
  // libvips would refuse a size above the limit with a message of its own
  const header = await sharp(bytes, { limitInputPixels: false }).metadata().catch(refuse)
  checkHeader(header, limits)
  const image = open(bytes, limits.pixels).autoOrient().toColourspace('srgb')
  const { width, height } = header.autoOrient
  const [shorter, longer] = [Math.min(width, height), Math.max(width, height)]
  const scale = Math.min(1, limits.side / shorter, (longestRatio * limits.side) / longer)
  if (scale < 1)
    image.resize(Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale)), {
      fit: 'fill',
    })
  const transparent = header.hasAlpha && !(await open(bytes, limits.pixels).stats().catch(refuse)).isOpaque
  if (!transparent) image.removeAlpha()
  const { data, info } = await image
    .png({ compressionLevel: 6, palette: false })
    .toBuffer({ resolveWithObject: true })
    .catch(refuse)
  return { png: new Uint8Array(data), width: info.width, height: info.height }
}

function checkHeader({ format, width, height, pages = 1 }: Metadata, limits: UploadLimits): void {
  if (!formats.includes(format)) throw invalid(`The picture must be PNG, JPEG or WebP, but was ${format}.`)
  const pixels = width * height
  if (pixels > limits.pixels) {
    const most = limits.pixels / 1e6
    throw invalid(
      `The picture must have at most ${most} megapixels, but has ${width} x ${height} (${Math.ceil(pixels / 1e5) / 10} megapixels).`,
    )
  }
  if (pages > 1) throw invalid(`The picture must be a still image, but has ${pages} frames.`)
}

/** RGB on white: a cut-out product is placed on white paper. */
async function fitPicture(image: Sharp, width: number, height: number): Promise<Uint8Array> {
  const { data } = await image
    .flatten({ background: 'white' })
    .resize(width, height, { fit: 'cover', kernel: 'lanczos3' })
    .toColourspace('srgb')
    .removeAlpha()
    .raw()
    .toBuffer({ resolveWithObject: true })
  return new Uint8Array(data)
}

/** Resized before thresholding, so that its edge stays in place. */
async function fitMask(image: Sharp, width: number, height: number): Promise<Uint8Array> {
  const { hasAlpha } = await image.metadata()
  const one = hasAlpha ? image.extractChannel('alpha').negate() : image.toColourspace('b-w')
  const { data, info } = await one
    .resize(width, height, { fit: 'cover', kernel: 'linear' })
    .raw()
    .toBuffer({ resolveWithObject: true })
  return Uint8Array.from({ length: width * height }, (_, i) =>
    (data[i * info.channels] ?? 0) >= threshold ? 255 : 0,
  )
}

/** What libvips cannot read is the file's fault; its technical message goes to the log only. */
function refuse(thrown: unknown): never {
  if (thrown instanceof AppError) throw thrown
  throw new AppError('invalid_upload', 'The picture cannot be read: the file is damaged or was cut short.', {
    param: 'body',
    cause: thrown,
  })
}

function invalid(message: string): AppError {
  return new AppError('invalid_upload', message, { param: 'body' })
}

/** Runs at most `most` actions at a time; the others wait in order. */
function turns(most: number) {
  const waiting: (() => void)[] = []
  let running = 0
  return async <T>(action: () => Promise<T>): Promise<T> => {
    if (running >= most) await new Promise<void>((resolve) => waiting.push(resolve))
    else running += 1
    try {
      return await action()
    } finally {
      // the next in line takes this slot
      const next = waiting.shift()
      if (next === undefined) running -= 1
      else next()
    }
  }
}
