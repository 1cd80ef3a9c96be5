import sharp from 'sharp'
import type { Matte } from '../../src/diffusion/matte/matte.ts'
import type { Picture } from '../../src/diffusion/request.ts'
import { borderShare } from '../../src/finish/measure.ts'
import { finishPicture } from '../../src/generator/finishing.ts'
import { judge } from '../../src/generator/gate.ts'
import { type Finish, finishPresets } from '../../src/jobs/finish.ts'

/** What the preset for Amazon's main image makes of a picture, measured from the delivered file. */
export interface Delivered {
  readonly before: Picture
  readonly after: Picture
  /** Whether a product was found. */
  readonly found: boolean
  /** Whether the picture cuts it off. */
  readonly inside: boolean
  /** Share of the border that is exactly white, 0..1. */
  readonly border: number
  /** Percent of the frame between the outermost pixels that are not nearly white. */
  readonly product: number
  /** Processor time from the picture to the file, in seconds. */
  readonly seconds: number
}

const white = [255, 255, 255] as const
/** A level below which a pixel is product: JPEG leaves traces around edges. */
const nearlyWhite = 246

export async function deliver(picture: Picture, matte: Matte): Promise<Delivered> {
  const preset = finishPresets.amazon_main!
  const { background, fill = 0, width, height, shadow } = preset
  const margin = { top: 0, right: 0, bottom: 0, left: 0 }
  const finish: Finish = { background, fill, width, height, shadow, margin }
  const began = process.cpuUsage()
  const judged = await judge(picture, matte, [])
  const { bytes } = await finishPicture(judged, {
    finish,
    format: 'jpeg',
    quality: 90,
    background: undefined,
    parameters: undefined,
  })
  const { user, system } = process.cpuUsage(began)
  const { data, info } = await sharp(bytes).removeAlpha().raw().toBuffer({ resolveWithObject: true })
  const after = { rgb: data, width: info.width, height: info.height }
  return {
    before: picture,
    after,
    found: judged.found !== undefined,
    inside: judged.measured.inside,
    border: borderShare(after, white),
    product: extent(after),
    seconds: (user + system) / 1e6,
  }
}

/** The longer side of the box around all that is not nearly white, in percent of the frame. */
function extent({ rgb, width, height }: Picture): number {
  let [left, right, top, bottom] = [width, -1, height, -1]
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const i = 3 * (y * width + x)
      if (Math.min(rgb[i]!, rgb[i + 1]!, rgb[i + 2]!) >= nearlyWhite) continue
      if (x < left) left = x
      if (x > right) right = x
      if (y < top) top = y
      bottom = y
    }
  }
  return right < 0 ? 0 : 100 * Math.max((right - left + 1) / width, (bottom - top + 1) / height)
}
