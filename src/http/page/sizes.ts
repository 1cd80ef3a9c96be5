import type { RequestLimits } from '../../jobs/fields.ts'
import type { ModelInfo } from '../../jobs/offer.ts'

export interface Size {
  readonly width: number
  readonly height: number
}

/** Shapes as fractions of the model's own size; a model draws worst far from the size it was trained on. */
const shapes = [
  ['Square', 1, 1],
  ['Portrait', 0.75, 1],
  ['Landscape', 1, 0.75],
  ['Tall', 1, 1.5],
  ['Wide', 1.5, 1],
] as const

/** The sizes to offer for a model: its own first, all within the limits and distinct. */
export function offeredSizes(model: ModelInfo, limits: RequestLimits): (Size & { label: string })[] {
  const round = (pixels: number) => Math.round(pixels / model.size_multiple) * model.size_multiple
  const sizes = shapes.map(([name, across, down]) => {
    const [width, height] = [round(model.width * across), round(model.height * down)]
    return { width, height, label: `${name} ${width}×${height}` }
  })
  const allowed = (pixels: number) => pixels >= limits.minSize && pixels <= limits.maxSize
  return sizes.filter(
    (size, index) =>
      allowed(size.width) &&
      allowed(size.height) &&
      sizes.findIndex((other) => sizeName(other) === sizeName(size)) === index,
  )
}

/** A size as written in the form: `256x192`. */
export function sizeName({ width, height }: Size): string {
  return `${width}x${height}`
}
