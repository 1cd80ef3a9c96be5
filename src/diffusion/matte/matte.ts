import { fileURLToPath } from 'node:url'
import { refused } from '../errors.ts'
import type { Picture } from '../request.ts'
import { Session } from '../runtime/session.ts'
import { type Convention, conventionOf } from './convention.ts'
import { guidedAlpha, plainAlpha } from './guided.ts'
import { type OnnxFacts, readOnnx } from './onnx-file.ts'
import { cropped, type Planes, padded, resampleBytes } from './resample.ts'

/** Packshot's own matting network, made by `training/train_matte.py`; models that are brought are beside it in `matte/`. */
export const builtInMatte = fileURLToPath(
  new URL('../../../models/matte/packshot-matte.onnx', import.meta.url),
)

/** Finds the product in a picture. */
export interface Matte {
  /** Whose convention the file has: Packshot, U2-Net, IS-Net, BiRefNet. */
  readonly family: string
  /**
   * How much of each pixel is product, 0..255, of the picture's size; shadows and reflections are none. Blocks its thread
   * while it computes. All 0 for a picture without a product: callers decide what that means.
   * @throws CheckpointError if the network's answer is no mask of its input's size
   */
  alpha(picture: Picture): Promise<Uint8Array>
  close(): Promise<void>
}

export interface MatteOptions {
  /** Of one operator; when not given, one for each core that this process may use. */
  readonly threads?: number | undefined
  /** A network that needs more memory is refused. */
  readonly budgetBytes?: number | undefined
}

/**
 * Bytes of activations at once, by pixel of the network's input: estimates by the widest layers of their shapes, which are 16
 * channels at full size with their copies for Packshot's, 64 channels for the next two, and a Swin transformer's scores.
 */
const activationBytes: Readonly<Record<Convention['family'], number>> = {
  Packshot: 500,
  'U2-Net': 2000,
  'IS-Net': 2000,
  BiRefNet: 6000,
}

/** Below and above these a network means "none" and "all", but seldom says so to the last bit. */
const [none, all] = [0.03, 0.97]

/**
 * Opens a matting network in the ONNX format.
 * @throws CheckpointError if the file cannot be used; its message names the file, its reason does not
 */
export async function openMatte(
  file: string,
  { threads, budgetBytes = Number.POSITIVE_INFINITY }: MatteOptions = {},
): Promise<Matte> {
  const facts = readOnnx(file)
  const convention = conventionOf(facts)
  if (typeof convention === 'string') throw refused(file, `this is no matting network: ${convention}`)
  const needed = neededBytes(facts, convention)
  if (needed > budgetBytes) {
    const [needs, has] = [needed, budgetBytes].map((bytes) => Math.ceil(bytes / 2 ** 20))
    throw refused(file, `it needs about ${needs} MiB of memory; a worker may use ${has} MiB`)
  }
  const [input] = facts.inputs
  const session = await open(file, facts, threads)
  return {
    family: convention.family,
    close: () => session.release(),
    async alpha(picture) {
      const { width, height } = sizeFor(convention, picture)
      const colour = resampleBytes(picture.rgb, picture, width, height)
      const wide = withinMultiple(convention, colour)
      const feed = { data: normalized(wide, convention), dims: [1, 3, wide.height, wide.width] }
      const answer = await session.run({ [input!.name]: feed }).catch((cause: unknown) => {
        throw refused(file, 'the network fails on a picture', cause)
      })
      if (answer.length !== wide.width * wide.height) {
        const reason = `its answer has ${answer.length} numbers, not one for each of ${wide.width} x ${wide.height} pixels`
        throw refused(file, `this is no matting network: ${reason}`)
      }
      const found = { data: settled(answer, convention), planes: 1, width: wide.width, height: wide.height }
      const alpha = cropped(found, width, height)
      const larger = picture.width > width || picture.height > height
      return larger ? guidedAlpha(alpha, colour, picture) : plainAlpha(alpha, picture.width, picture.height)
    },
  }
}

/** Of the session while it computes: weights twice, as kernels pack them, and activations. */
function neededBytes({ parameters }: OnnxFacts, { family, size }: Convention): number {
  const pixels = 'width' in size ? size.width * size.height : size.longest ** 2
  return 2 * 4 * parameters + activationBytes[family] * pixels
}

async function open(file: string, { path }: OnnxFacts, threads: number | undefined): Promise<Session> {
  try {
    return await Session.fromFile(path, { provider: 'cpu', threads })
  } catch (cause) {
    throw refused(file, 'ONNX Runtime cannot load it: it is damaged, or made for another version', cause)
  }
}

/** What the picture is scaled to: never larger than it is where the network takes any size, but of 64 pixels at least. */
function sizeFor({ size }: Convention, picture: Picture): { width: number; height: number } {
  if ('width' in size) return size
  const longer = Math.max(picture.width, picture.height)
  const scale = Math.min(size.longest, Math.max(longer, 64)) / longer
  const side = (pixels: number) => Math.max(1, Math.round(pixels * scale))
  return { width: side(picture.width), height: side(picture.height) }
}

function withinMultiple({ size }: Convention, colour: Planes): Planes {
  if ('width' in size) return colour
  const up = (pixels: number) => Math.ceil(pixels / size.multiple) * size.multiple
  return padded(colour, up(colour.width), up(colour.height))
}

function normalized({ data, width, height }: Planes, { scale, mean, deviation }: Convention): Float32Array {
  const count = width * height
  const divisor = scale === 'largest' ? Math.max(largestOf(data), 1e-6) : 1
  const out = new Float32Array(data.length)
  for (let c = 0; c < 3; c++) {
    const [shift, factor] = [mean[c]!, 1 / deviation[c]!]
    for (let i = c * count; i < (c + 1) * count; i++) out[i] = (data[i]! / divisor - shift) * factor
  }
  return out
}

/** 0..1: through a sigmoid if it is not in that range yet, spread if the convention says so, without traces. */
function settled(answer: Float32Array, { spread }: Convention): Float32Array {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
  for (const value of answer) {
    if (value < low) low = value
    if (value > high) high = value
  }
  const logits = low < -0.05 || high > 1.05
  const squash = (value: number) => (logits ? 1 / (1 + Math.exp(-value)) : value)
  const [least, most] = [squash(low), squash(high)]
  // a picture with nothing in it has no value above a half: spread, its noise would become a product
  const [from, to] = spread && most > 0.5 ? [least, most] : [0, 1]
  return answer.map((value) => {
    const share = ((squash(value) - from) / (to - from) - none) / (all - none)
    // also of NaN
    return share > 0 ? Math.min(share, 1) : 0
  })
}

function largestOf(values: Float32Array): number {
  let largest = 0
  for (const value of values) if (value > largest) largest = value
  return largest
}
