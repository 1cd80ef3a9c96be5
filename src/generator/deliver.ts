import type { Cut, Raster } from '../finish/raster.ts'
import { AppError } from '../jobs/errors.ts'
import type { Measured } from '../jobs/finish.ts'
import type { ResolvedRequest } from '../jobs/job.ts'
import { imageSeed, triesOf } from '../jobs/pictures.ts'
import type { GivenImages, PictureReader } from '../jobs/ports.ts'
import { enlargedFor } from './enlarged.ts'
import { finishPicture } from './finishing.ts'
import { isBetter, type Judged, judge, type Look, type MatteSource } from './gate.ts'
import { cutOut } from './keep/keep.ts'
import { pictureFile } from './picture-file.ts'

/** From a request to the file of one picture: draws it, again if the gate says so, and finishes the best try. */

/** A picture that was drawn around a kept product says where that is. */
type Drawn = Raster & { readonly alpha?: Uint8Array }

export interface DeliverParts {
  /** @param attempt counts from 0 */
  readonly draw: (seed: number, attempt: number) => Promise<Drawn>
  readonly enlarge: (picture: Raster, upscaler: string) => Promise<Raster>
  readonly matte: MatteSource
  readonly reader: PictureReader
  readonly images: GivenImages | undefined
  /** The photo whose product the request keeps. */
  readonly kept?: (() => Promise<Cut>) | undefined
  /** Does what takes much memory, for one picture at a time; by default at once. */
  readonly inTurn?: (<T>(work: () => Promise<T>) => Promise<T>) | undefined
  /** How earlier pictures of the job look; this one is added. */
  readonly looks: Look[]
  /** Resolves when the earlier pictures of the job are made; by default they are. */
  readonly earlier?: Promise<void> | undefined
  /** What a file says of how it was made; undefined leaves it out. */
  readonly parametersOf: (seed: number) => string | undefined
  /** The steps are done. */
  readonly onDrawn: () => void
}

export interface Delivered {
  readonly bytes: Uint8Array
  readonly width: number
  readonly height: number
  readonly seed: number
  readonly measured?: Measured
  /** See `GeneratedImage`. */
  readonly precision?: 'exact'
  readonly original?: Uint8Array
}

/** Smaller than this there is nothing to cut out. */
const leastSide = 16

/** @throws AppError `finish_failed`, and what drawing throws */
export async function deliver(
  request: ResolvedRequest,
  index: number,
  parts: DeliverParts,
): Promise<Delivered> {
  const { finish, gate, keep, strength, init_image, upscaler } = request
  const { looks, parametersOf, reader, images, inTurn = (work) => work() } = parts
  // a kept product has the pixels of its photo, and its set was enlarged
  const enlarged = async (picture: Raster) =>
    upscaler === undefined || keep !== undefined ? picture : parts.enlarge(picture, upscaler)
  const isUpload = strength === 0 && init_image !== undefined
  if (isUpload && finish === undefined && parts.kept !== undefined) {
    const photo = await parts.kept()
    const product = await inTurn(() => cutOut(photo, request))
    parts.onDrawn()
    return { ...product, seed: imageSeed(request, index) }
  }
  if (finish === undefined && gate === undefined && keep === undefined) {
    const seed = imageSeed(request, index)
    const picture = await enlarged(await parts.draw(seed, 0))
    parts.onDrawn()
    const { width, height } = picture
    return { bytes: await pictureFile(picture, request, parametersOf(seed)), width, height, seed }
  }
  const best = isUpload ? await judgeUpload(parts) : await drawBest(request, index, parts)
  parts.onDrawn()
  looks.push(best.judged.look)
  const { seed, judged, tries } = best
  const parameters = isUpload ? undefined : parametersOf(seed)
  const measured = { ...judged.measured, tries }
  if (finish === undefined) {
    const { picture, found } = judged
    const { width, height } = picture
    const delivered = await enlarged(picture)
    const product =
      found === undefined ? 0 : 100 * Math.max(found.box.width / width, found.box.height / height)
    return {
      bytes: await pictureFile(delivered, request, parameters),
      width: delivered.width,
      height: delivered.height,
      seed,
      measured: withMissed({ product: Math.round(product * 10) / 10, ...measured }, judged),
    }
  }
  const ground =
    images?.background === undefined
      ? undefined
      : await reader.fit(images.background, finish.width, finish.height, 'picture')
  const larger =
    upscaler === undefined || keep !== undefined ? judged : await enlargedFor(judged, finish, enlarged)
  const background = ground && { ...ground, rgb: ground.pixels }
  const finished = await inTurn(() => finishPicture(larger, { ...request, finish, background, parameters }))
  const { width, height } = finished
  return {
    bytes: finished.bytes,
    width,
    height,
    seed,
    measured: withMissed({ ...finished.measured, ...measured }, judged),
    original:
      isUpload && images?.init !== undefined
        ? images.init
        : await pictureFile(judged.picture, { format: 'png' }, parameters),
  }
}

interface Best {
  readonly seed: number
  readonly judged: Judged
  readonly tries: number
}

async function drawBest(request: ResolvedRequest, index: number, parts: DeliverParts): Promise<Best> {
  let best: Best | undefined
  let tries = 0
  while (tries < triesOf(request)) {
    const seed = imageSeed(request, index, tries)
    const { alpha, ...picture } = await parts.draw(seed, tries)
    tries += 1
    await parts.earlier
    const judged = await judge(picture, parts.matte, parts.looks, alpha)
    if (best === undefined || isBetter(judged, best.judged)) best = { seed, judged, tries }
    if (judged.missed.length === 0) break
  }
  if (best === undefined) throw new Error('a picture is drawn at least once')
  return { ...best, tries }
}

/** @throws AppError `finish_failed` for what is too small, `invalid_upload` */
async function judgeUpload({ images, kept, reader, matte, looks, earlier }: DeliverParts): Promise<Best> {
  await earlier
  if (images?.init === undefined) throw new Error('there is no picture to finish')
  const { alpha, ...picture } = await (kept?.() ?? reader.read(images.init))
  const { width, height } = picture
  if (Math.min(width, height) < leastSide) {
    const message = `The picture has ${width} x ${height} pixels: to find a product in it, it must have at least ${leastSide} on each side.`
    throw new AppError('finish_failed', message, { param: 'init_image' })
  }
  return { seed: 0, judged: await judge(picture, matte, looks, alpha), tries: 1 }
}

/** What the drawn picture missed, and what the finished one did. */
function withMissed(measured: Measured, { missed }: Judged): Measured {
  const { border_white: share } = measured
  const all = [...missed, ...(share !== undefined && share < 1 ? ['border_white'] : [])]
  return all.length === 0 ? measured : { ...measured, missed: all }
}
