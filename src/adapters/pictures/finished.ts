import sharp, { type Sharp } from 'sharp'
import { AppError } from '../../jobs/errors.ts'
import type { Raster } from './encode.ts'
import { withExif } from './exif.ts'

/** Scaling and writing of finished pictures. */

interface Cut extends Raster {
  readonly alpha: Uint8Array
}

/** A product and its matte in another size, by Lanczos. */
export async function resizeCut(cut: Cut, width: number, height: number): Promise<Cut> {
  if (cut.width === width && cut.height === height) return { ...cut, alpha: new Uint8Array(cut.alpha) }
  const [rgb, alpha] = await Promise.all([
    resized(cut.rgb, cut, 3, width, height),
    resized(cut.alpha, cut, 1, width, height),
  ])
  return { rgb, alpha, width, height }
}

/** A picture in another size, by Lanczos. @param part what of it */
export async function resizePart(
  picture: Raster,
  part: { readonly left: number; readonly top: number; readonly width: number; readonly height: number },
  width: number,
  height: number,
): Promise<Raster> {
  const image = raw(picture.rgb, picture, 3).extract(part)
  const { data } = await image
    .resize(width, height, { fit: 'fill', kernel: 'lanczos3' })
    .raw()
    .toBuffer({ resolveWithObject: true })
  return { rgb: data, width, height }
}

interface Size {
  readonly width: number
  readonly height: number
}

function raw(pixels: Uint8Array, { width, height }: Size, channels: 1 | 3 | 4): Sharp {
  return sharp(pixels, { raw: { width, height, channels } })
}

async function resized(pixels: Uint8Array, size: Size, channels: 1 | 3, width: number, height: number) {
  const image = raw(pixels, size, channels).resize(width, height, { fit: 'fill', kernel: 'lanczos3' })
  // a single channel would come back as three
  const { data } = await (channels === 1 ? image.toColourspace('b-w') : image)
    .raw()
    .toBuffer({ resolveWithObject: true })
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
}

/** What is written: with `rgba` it is transparent. */
export type FinishedPixels = Raster | (Size & { readonly rgba: Uint8Array })

export interface FinishedFile {
  readonly format: 'png' | 'jpeg' | 'webp'
  /** 1 to 100, for JPEG and WebP. */
  readonly quality: number
  /** At most so many bytes, for JPEG and WebP. */
  readonly maxBytes: number | undefined
  /** What a decoded file is asked: 1 if all is as it should be. Undefined: it is not decoded. */
  readonly check: ((decoded: Raster) => number) | undefined
  /** The colour that the check is about. */
  readonly colour: readonly [number, number, number] | undefined
  readonly parameters: string | undefined
}

interface Written {
  readonly bytes: Uint8Array
  /** What `check` said. */
  readonly checked: number | undefined
}

/** The quality falls to this, not below. */
const leastQuality = 40
/** In place of a quality, of WebP: without loss. */
const lossless = 101

/**
 * Writes a file. JPEG and WebP round colours: the quality is raised until the check passes, if any does, and WebP is
 * written without loss where it cannot hold the colour otherwise; with `maxBytes` the quality falls until the file fits.
 * @throws AppError `finish_failed` if it does not fit at a quality of 40
 */
export async function writeFinished(pixels: FinishedPixels, file: FinishedFile): Promise<Written> {
  const { format, check } = file
  if (format === 'png') {
    const bytes = await pngOf(pixels)
    return { bytes, checked: 'rgb' in pixels ? check?.(pixels) : undefined }
  }
  const write = (quality: number) => lossy(pixels, { ...file, format, quality })
  const good = await goodQualities(format, file.colour)
  const fits = (each: Uint8Array) => file.maxBytes === undefined || each.byteLength <= file.maxBytes
  if (good.length === 0 && format === 'webp') {
    // without loss it holds every colour
    const exact = await lossy(pixels, { ...file, format, quality: lossless })
    if (fits(exact)) return { bytes: exact, checked: await checked(exact, check) }
  }
  const qualities = good.length === 0 ? all : good
  const asked = atLeast(qualities, file.quality)
  let bytes = await write(asked)
  if (!fits(bytes)) {
    const lower = qualities.filter((quality) => quality < asked)
    bytes = await largestThatFits(lower, write, fits, file.maxBytes ?? 0)
    return { bytes, checked: await checked(bytes, check) }
  }
  let share = await checked(bytes, check)
  for (const quality of [asked + 3, 97, 100].map((wanted) => atLeast(qualities, wanted))) {
    if (share === undefined || share === 1 || quality <= asked) continue
    const better = await write(quality)
    // a higher quality is larger still
    if (!fits(better)) break
    const now = (await checked(better, check)) ?? 0
    if (now > share) [bytes, share] = [better, now]
  }
  return { bytes, checked: share }
}

async function largestThatFits(
  qualities: readonly number[],
  write: (quality: number) => Promise<Uint8Array>,
  fits: (bytes: Uint8Array) => boolean,
  most: number,
): Promise<Uint8Array> {
  let [low, high] = [0, qualities.length - 1]
  let best: Uint8Array | undefined
  while (low <= high) {
    const middle = (low + high) >> 1
    const bytes = await write(qualities[middle] as number)
    if (fits(bytes)) {
      best = bytes
      low = middle + 1
    } else high = middle - 1
  }
  if (best !== undefined) return best
  const message = `The picture does not fit into ${most} bytes at a quality of ${leastQuality}. Raise finish.max_bytes, or lower finish.width and finish.height.`
  throw new AppError('finish_failed', message, { param: 'finish.max_bytes' })
}

async function checked(bytes: Uint8Array, check: FinishedFile['check']): Promise<number | undefined> {
  if (check === undefined) return undefined
  const { data, info } = await sharp(bytes).removeAlpha().raw().toBuffer({ resolveWithObject: true })
  return check({ rgb: data, width: info.width, height: info.height })
}

function imageOf(pixels: FinishedPixels): Sharp {
  return 'rgba' in pixels ? raw(pixels.rgba, pixels, 4) : raw(pixels.rgb, pixels, 3)
}

async function pngOf(pixels: FinishedPixels): Promise<Uint8Array> {
  return imageOf(pixels).png({ compressionLevel: 6, palette: false }).toBuffer()
}

async function lossy(
  pixels: FinishedPixels,
  { format, quality, parameters }: FinishedFile & { readonly format: 'jpeg' | 'webp' },
): Promise<Uint8Array> {
  const image = imageOf(pixels)
  const bytes =
    format === 'jpeg'
      ? await image.jpeg({ quality, chromaSubsampling: '4:4:4' }).toBuffer()
      : await image
          .webp(
            quality === lossless ? { lossless: true } : { quality, smartSubsample: true, alphaQuality: 100 },
          )
          .toBuffer()
  const { width, height } = pixels
  return parameters === undefined ? bytes : withExif(bytes, { format, width, height, comment: parameters })
}

const known = new Map<string, Promise<readonly number[]>>()

const all = Array.from({ length: 101 - leastQuality }, (_, at) => leastQuality + at)

/**
 * The qualities from 40 to 100 at which an area of this colour comes out exactly: at some, white comes out as 254. All of
 * them without a colour; none for a colour that the format cannot hold, as most of WebP with loss.
 */
function goodQualities(format: 'jpeg' | 'webp', colour: FinishedFile['colour']): Promise<readonly number[]> {
  if (colour === undefined) return Promise.resolve(all)
  const name = `${format} ${colour.join()}`
  const found = known.get(name) ?? exactQualities(format, colour)
  // a few colours come again and again: the rest need not be remembered
  if (known.size < 64) known.set(name, found)
  return found
}

async function exactQualities(
  format: 'jpeg' | 'webp',
  colour: readonly [number, number, number],
): Promise<readonly number[]> {
  const [width, height] = [16, 16]
  const rgb = Uint8Array.from({ length: width * height * 3 }, (_, at) => colour[at % 3] as number)
  const options = { format, maxBytes: undefined, check: undefined, colour, parameters: undefined }
  const exact: number[] = []
  // WebP does the same at all of them
  for (const quality of format === 'webp' ? all.filter((each) => each % 10 === 0) : all) {
    const { data } = await sharp(await lossy({ rgb, width, height }, { ...options, quality }))
      .raw()
      .toBuffer({ resolveWithObject: true })
    if (data.equals(rgb)) exact.push(quality)
  }
  return format === 'webp' && exact.length > 0 ? all : exact
}

/** The lowest of these that is as high as wanted; the highest if there is none. */
function atLeast(qualities: readonly number[], wanted: number): number {
  return qualities.find((quality) => quality >= wanted) ?? qualities.at(-1) ?? wanted
}
