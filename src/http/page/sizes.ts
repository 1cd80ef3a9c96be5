import type { RequestLimits } from '../../jobs/fields.ts'
import type { ModelInfo } from '../../jobs/offer.ts'

export interface Size {
  readonly width: number
  readonly height: number
}

/** Shapes in parts of the model's own size; a model draws worst far from the size it was trained on. */
const shapes = [
  ['Square', 1, 1],
  ['Portrait', 0.75, 1],
  ['Landscape', 1, 0.75],
  ['Tall', 1, 1.5],
  ['Wide', 1.5, 1],
] as const

/** The sizes worth offering for a model: its own first, all of them allowed and different. */
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

/** How a size is written in the form: `256x192`. */
export function sizeName({ width, height }: Size): string {
  return `${width}x${height}`
}
