import type { Picture } from '../../src/diffusion/request.ts'
import { planes } from './classifier.ts'

/**
 * How much pictures of the same prompt differ: the root mean square difference of two, 0..255, at 64x64, averaged over
 * all pairs. `training/train_judge.py` measures the renders in the same way.
 */
export function diversityOf(pictures: readonly Picture[]): number {
  const small = pictures.map((picture) => planes(picture, 64))
  const found: number[] = []
  for (const [i, a] of small.entries()) {
    for (const b of small.slice(0, i)) {
      const squares = a.reduce((sum, value, at) => sum + (value - b[at]!) ** 2, 0)
      found.push(255 * Math.sqrt(squares / a.length))
    }
  }
  return mean(found)
}

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}
