import sharp from 'sharp'
import { pictureReader } from '../../src/adapters/pictures/picture-reader.ts'
import type { Matte } from '../../src/diffusion/matte/matte.ts'
import type { Picture } from '../../src/diffusion/request.ts'
import { borderShare } from '../../src/finish/measure.ts'
import { deliver, type Delivered as Made } from '../../src/generator/deliver.ts'
import type { Measured } from '../../src/jobs/finish.ts'
import type { ResolvedRequest } from '../../src/jobs/job.ts'

/** What the product makes of a request with the preset for Amazon's main image, measured from the delivered file. */
export interface Delivered {
  readonly prompt: string
  readonly seed: number
  /** The try that was delivered. */
  readonly before: Picture
  readonly after: Picture
  /** What the product itself says of it. */
  readonly measured: Measured
  /** What the first try missed: names of figures. */
  readonly firstMissed: readonly string[]
  /** Share of the border that is exactly white, 0..1. */
  readonly border: number
  /** Percent of the frame between the outermost pixels that are not nearly white. */
  readonly product: number
  /** From the drawn picture to the file, for each try: processor time and time on the clock, in seconds. */
  readonly processor: number
  readonly clock: number
}

const white = [255, 255, 255] as const
/** A level below which a pixel is product: JPEG leaves traces around edges. */
const nearlyWhite = 246

/**
 * As a worker delivers it: drawn again by `gate` while it misses.
 * @param first the picture of the request's own seed
 * @param draw with another seed; nothing else may compute meanwhile
 */
export async function deliverDrawn(
  request: ResolvedRequest,
  first: Picture,
  draw: (seed: number) => Promise<Picture>,
  matte: Matte,
): Promise<Delivered> {
  const tries: Picture[] = []
  const drawing = { processor: 0, clock: 0 }
  const timed = async (seed: number) => {
    const began = now()
    const picture = await draw(seed)
    const ended = now()
    drawing.processor += ended.processor - began.processor
    drawing.clock += ended.clock - began.clock
    return picture
  }
  const run = (asked: ResolvedRequest) =>
    deliver(asked, 0, {
      async draw(seed, attempt) {
        const picture = attempt === 0 ? first : await timed(seed)
        tries.push(picture)
        return picture
      },
      enlarge: async (picture) => picture,
      matte,
      reader: pictureReader(),
      images: undefined,
      looks: [],
      parametersOf: () => undefined,
      onDrawn: () => {},
    })
  const began = now()
  const made = await run(request)
  const ended = now()
  const drawn = tries.length
  const after = await decoded(made)
  const { gate: _gate, ...once } = request
  const alone = drawn === 1 ? made : await run(once)
  return {
    prompt: request.prompt,
    seed: made.seed,
    before: tries[(made.seed - request.seed) / request.count] ?? first,
    after,
    measured: measuredOf(made),
    firstMissed: measuredOf(alone).missed ?? [],
    border: borderShare(after, white),
    product: extent(after),
    processor: (ended.processor - began.processor - drawing.processor) / drawn,
    clock: (ended.clock - began.clock - drawing.clock) / drawn,
  }
}

function measuredOf({ measured }: Made): Measured {
  if (measured === undefined) throw new Error('a finished picture is measured')
  return measured
}

async function decoded({ bytes }: Made): Promise<Picture> {
  const { data, info } = await sharp(bytes).removeAlpha().raw().toBuffer({ resolveWithObject: true })
  return { rgb: data, width: info.width, height: info.height }
}

function now(): { processor: number; clock: number } {
  const { user, system } = process.cpuUsage()
  return { processor: (user + system) / 1e6, clock: performance.now() / 1e3 }
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
