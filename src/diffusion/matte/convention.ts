import type { OnnxFacts, Value } from './onnx-file.ts'

/** How a matting network wants its picture, and what its answer is. */
export interface Convention {
  /** For people: whose convention this is. */
  readonly family: 'Packshot' | 'U2-Net' | 'IS-Net' | 'BiRefNet'
  /** Of the network's input in pixels; `fit` keeps the picture's shape, with sides that are multiples of this. */
  readonly size: { readonly width: number; readonly height: number } | Fit
  /** Values are divided by 255, or by the largest of the picture. */
  readonly scale: 'byte' | 'largest'
  readonly mean: readonly [number, number, number]
  readonly deviation: readonly [number, number, number]
  /** Whether the answer is spread over the whole of 0..1 afterwards, as the network's own program does. */
  readonly spread: boolean
}

/** The longer side becomes `longest`, if it is longer; both sides are padded to multiples. */
interface Fit {
  readonly multiple: number
  readonly longest: number
}

const imageNet = { mean: [0.485, 0.456, 0.406], deviation: [0.229, 0.224, 0.225] } as const

/** Of either side; activations of a network at this size take gigabytes. */
const largestSide = 2048
const float32 = 1
/** Of networks with an open size. */
const usualSide = 1024

/**
 * The convention of a file: its own metadata's (`packshot.matte`), or that of a family of published networks.
 *
 * - U2-Net (u2net_test.py, data_loader.py of github.com/xuebinqin/U-2-Net): 320, divided by the picture's largest value,
 *   ImageNet's mean and deviation, answer spread.
 * - IS-Net (IS-Net/Inference.py of github.com/xuebinqin/DIS) and RMBG 1.4: 1024, mean 0.5, deviation 1, answer spread.
 * - BiRefNet (inference.py, dataset.py of github.com/ZhengPeng7/BiRefNet) and RMBG 2: 1024, ImageNet's, answer with or without
 *   its sigmoid. It is told from IS-Net by attention, which that has not.
 *
 * @returns why the file is no network that gives one mask for one picture, if it is none: a clause
 */
export function conventionOf({ inputs, outputs, operators, metadata }: OnnxFacts): Convention | string {
  const [input] = inputs
  const [output] = outputs
  const kinds = [...operators]
  const loop = kinds.find((name) => /^(Loop|Scan)$/.test(name))
  if (loop !== undefined) return `it has the operator ${loop}, which is not run`
  const foreign = kinds.find((name) => name.includes('.') && !name.startsWith('com.microsoft.'))
  if (foreign !== undefined)
    return `it has the operator ${foreign.slice(0, 60)}, which ONNX Runtime does not have`
  if (inputs.length !== 1 || input === undefined || !takesPicture(input)) {
    const has = inputs.slice(0, 3).map(shown).join(', ') || 'nothing'
    return `it takes ${has}, not one picture of 1 x 3 x height x width in float32`
  }
  if (output === undefined || !givesMask(output)) {
    return `it gives ${output ? shown(output) : 'nothing'}, not one mask in float32`
  }
  const own = ownConvention(metadata.get('packshot.matte'))
  if (own !== undefined) return own
  const [, , height = -1, width = -1] = input.dims ?? []
  const small = width > 0 && width <= 512
  const side = (given: number) => (given > 0 ? given : usualSide)
  const size = { width: side(width), height: side(height) }
  if (Math.max(size.width, size.height) > largestSide || Math.min(size.width, size.height) < 32) {
    return `its pictures are ${size.width} x ${size.height}; 32 to ${largestSide} pixels a side are supported`
  }
  const attends = operators.has('Softmax') || operators.has('LayerNormalization')
  if (attends) return { family: 'BiRefNet', size, scale: 'byte', ...imageNet, spread: false }
  if (small) return { family: 'U2-Net', size, scale: 'largest', ...imageNet, spread: true }
  return { family: 'IS-Net', size, scale: 'byte', mean: [0.5, 0.5, 0.5], deviation: [1, 1, 1], spread: true }
}

function takesPicture({ type, dims }: Value): boolean {
  if (type !== float32 || dims?.length !== 4) return false
  const [count, channels] = dims
  return (count === 1 || count === -1) && channels === 3
}

/** [1, 1, height, width] or [1, height, width], as far as it is said. */
function givesMask({ type, dims }: Value): boolean {
  if (type !== float32) return false
  if (dims === undefined) return true
  const before = dims.slice(0, -2)
  return (dims.length === 3 || dims.length === 4) && before.every((dim) => dim === 1 || dim === -1)
}

function shown({ name, type, dims }: Value): string {
  const what = type === float32 ? '' : ` of type ${type}`
  const sizes = dims === undefined ? 'of open shape' : dims.map((dim) => (dim < 0 ? '?' : dim)).join(' x ')
  return `${JSON.stringify(name.slice(0, 40))} (${sizes}${what})`
}

/** Undefined if there is none, or if it is not understood. */
function ownConvention(text: string | undefined): Convention | undefined {
  if (text === undefined) return undefined
  let told: unknown
  try {
    told = JSON.parse(text)
  } catch {
    return undefined
  }
  if (typeof told !== 'object' || told === null) return undefined
  const { multiple, longest, mean, std } = told as Record<string, unknown>
  if (!isSide(multiple) || !isSide(longest) || multiple > longest || !isTriple(mean) || !isTriple(std))
    return undefined
  if (std.some((value) => value < 1e-3)) return undefined
  const size = { multiple, longest }
  return { family: 'Packshot', size, scale: 'byte', mean, deviation: std, spread: false }
}

function isSide(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 1 && (value as number) <= largestSide
}

function isTriple(value: unknown): value is [number, number, number] {
  return Array.isArray(value) && value.length === 3 && value.every(Number.isFinite)
}
