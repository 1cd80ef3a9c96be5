import sharp, { type Metadata, type Sharp } from 'sharp'
import { AppError } from '../../jobs/errors.ts'
import type { PictureReader, UploadLimits, WholePicture } from '../../jobs/ports.ts'
import { type PictureHead, pictureHead } from './picture-head.ts'

/**
 * Pictures from outside, read by libvips. Only the PNG, JPEG and WebP loaders are used (the caller has checked the
 * first bytes); a truncated or damaged file is refused rather than filled with grey.
 */

/** Decoding a large photo takes some hundred megabytes: the others wait. */
const atOnce = 2
/** Files that wait for their turn are in memory. */
const mostWaiting = { files: 32, bytes: 128 * 2 ** 20 }
/** A file of a few hundred bytes can keep a decoder busy for long. */
const longestDecodeSeconds = 20
/** The longer side as a multiple of the shorter one; the pictures made here have at most this shape. */
const mostAspect = 8
/** Our own pictures are at most 1024 x 1024; this is not a limit for users, it stops decompression bombs. */
const storedPixels = 64e6
/** Above this a PNG is written fast rather than small: at the usual level 9 megapixels keep a core busy for seconds. */
const quickPixels = 2e6
const formats = ['png', 'jpeg', 'webp']
/** Half transparent and half grey: where a mask changes its mind. */
const threshold = 128

export function pictureReader(): PictureReader {
  const turn = turns()
  return {
    normalise: async (bytes, limits) => {
      checkHead(pictureHead(bytes), limits)
      return turn(bytes.byteLength, () => normalise(bytes, limits))
    },
    fit: (png, width, height, kind) =>
      turn(png.byteLength, async () => {
        const image = open(png, storedPixels)
        const pixels = await fitted[kind](image, width, height)
        return { pixels, width, height }
      }).catch(refuse),
    read: (png) => turn(png.byteLength, () => whole(open(png, storedPixels))).catch(refuse),
  }
}

const fitted = { picture: fitPicture, mask: fitMask, kept: fitKept }

function open(bytes: Uint8Array, pixels: number): Sharp {
  const image = sharp(bytes, { limitInputPixels: pixels, failOn: 'error', sequentialRead: false })
  return image.timeout({ seconds: longestDecodeSeconds })
}

/** The file is decoded once: whether any part is transparent is seen in the smaller picture. */
async function normalise(bytes: Uint8Array, limits: UploadLimits) {
  const header = await sharp(bytes, { limitInputPixels: limits.pixels }).metadata().catch(refuse)
  checkFormat(header)
  const image = open(bytes, limits.pixels).autoOrient().toColourspace('srgb')
  const { width, height } = header.autoOrient
  const scale = Math.min(1, Math.sqrt(limits.kept / (width * height)))
  if (scale < 1) {
    const scaled = (side: number) => Math.max(1, Math.floor(side * scale))
    image.resize(scaled(width), scaled(height), { fit: 'fill' })
  }
  if (!header.hasAlpha) image.removeAlpha()
  const { data, info } = await image.raw().toBuffer({ resolveWithObject: true }).catch(refuse)
  const kept = sharp(data, { raw: { width: info.width, height: info.height, channels: info.channels } })
  if (info.channels === 4 && data.every((value, at) => at % 4 !== 3 || value === 255)) kept.removeAlpha()
  const compressionLevel = info.width * info.height > quickPixels ? 2 : 6
  const png = await kept.toColourspace('srgb').png({ compressionLevel, palette: false }).toBuffer()
  return { png: new Uint8Array(png), width: info.width, height: info.height }
}

/** Decides before a decoder sees the file. What the head cannot be read of is left to the decoder's own words. */
function checkHead(head: PictureHead | undefined, { pixels, longest }: UploadLimits): void {
  if (head === undefined) return
  const { width, height, animated } = head
  const has = `has ${width} x ${height}`
  if (width * height > pixels) {
    const megapixels = Math.ceil((width * height) / 1e5) / 10
    throw invalid(
      `The picture must have at most ${pixels / 1e6} megapixels, but ${has} (${megapixels} megapixels).`,
    )
  }
  if (Math.max(width, height) > longest) {
    throw invalid(`The picture must have at most ${longest} pixels on each side, but ${has}.`)
  }
  if (Math.max(width, height) > mostAspect * Math.min(width, height)) {
    throw invalid(
      `One side of the picture must be at most ${mostAspect} times as long as the other, but it ${has}.`,
    )
  }
  if (animated) throw invalid('The picture must be a still image, but has several frames.')
}

function checkFormat({ format, pages = 1 }: Metadata): void {
  if (!formats.includes(format)) throw invalid(`The picture must be PNG, JPEG or WebP, but was ${format}.`)
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
  const painted = await fitPainted(image, width, height)
  return painted.map((value) => (value >= threshold ? 255 : 0))
}

async function fitKept(image: Sharp, width: number, height: number): Promise<Uint8Array> {
  const painted = await fitPainted(image, width, height)
  return painted.map((value) => 255 - value)
}

/** How much of each pixel is to be repainted. */
async function fitPainted(image: Sharp, width: number, height: number): Promise<Uint8Array> {
  const { hasAlpha } = await image.metadata()
  const one = hasAlpha ? image.extractChannel('alpha').negate() : image.toColourspace('b-w')
  const { data, info } = await one
    .resize(width, height, { fit: 'cover', kernel: 'linear' })
    .raw()
    .toBuffer({ resolveWithObject: true })
  return info.channels === 1
    ? new Uint8Array(data)
    : Uint8Array.from({ length: width * height }, (_, i) => data[i * info.channels] ?? 0)
}

async function whole(image: Sharp): Promise<WholePicture> {
  const { data, info } = await image.toColourspace('srgb').raw().toBuffer({ resolveWithObject: true })
  const { width, height, channels } = info
  const [rgb, alpha] = [new Uint8Array(width * height * 3), new Uint8Array(width * height)]
  let least = 255
  for (let i = 0; i < width * height; i += 1) {
    for (let c = 0; c < 3; c += 1) rgb[i * 3 + c] = data[i * channels + (channels < 3 ? 0 : c)] ?? 0
    alpha[i] = channels % 2 === 0 ? (data[i * channels + channels - 1] ?? 0) : 255
    least = Math.min(least, alpha[i] ?? 0)
  }
  return { rgb, alpha: least < 255 ? alpha : undefined, width, height }
}

/** What libvips cannot read is the file's fault; its technical message goes to the log only. */
function refuse(thrown: unknown): never {
  if (thrown instanceof AppError) throw thrown
  const tooLong = thrown instanceof Error && thrown.message.startsWith('timeout')
  const why = tooLong
    ? `reading it takes longer than ${longestDecodeSeconds} seconds. Save it again, or make it smaller.`
    : 'the file is damaged or was cut short.'
  throw new AppError('invalid_upload', `The picture cannot be read: ${why}`, { param: 'body', cause: thrown })
}

function invalid(message: string): AppError {
  return new AppError('invalid_upload', message, { param: 'body' })
}

/** Runs `atOnce` actions at a time; the others wait in order. Rejects `unavailable` when too many wait. */
function turns() {
  const waiting: (() => void)[] = []
  let running = 0
  let waitingBytes = 0
  return async <T>(bytes: number, action: () => Promise<T>): Promise<T> => {
    if (running >= atOnce) {
      const full = waiting.length >= mostWaiting.files || waitingBytes + bytes > mostWaiting.bytes
      if (full && waiting.length > 0) {
        throw new AppError('unavailable', 'Many pictures are being read at this moment. Try again.')
      }
      waitingBytes += bytes
      await new Promise<void>((resolve) => waiting.push(resolve))
      waitingBytes -= bytes
    } else running += 1
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
