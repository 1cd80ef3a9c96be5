import { Weights } from '../checkpoint/weights.ts'
import { eightBitKeys, type WeightSource } from '../graph/graph.ts'
import type { SafetensorsFile } from '../safetensors/safetensors.ts'

/** The weights of a part in eight bits (`prepare.ts`), by the names and shapes that the part has without them. */
export function eightBitWeights(file: SafetensorsFile): WeightSource {
  const weights = new Weights(file)
  const valuesOf = (key: string): string | undefined => {
    if (weights.has(key) || !key.endsWith('.weight')) return undefined
    const { values } = eightBitKeys(key.slice(0, -'.weight'.length))
    return weights.has(values) ? values : undefined
  }
  return {
    fileName: weights.fileName,
    has: (key) => weights.has(key) || valuesOf(key) !== undefined,
    shape(key) {
      const values = valuesOf(key)
      if (values === undefined) return weights.shape(key)
      const shape = weights.shape(values)
      return shape.length === 2 ? shape.toReversed() : convShape(shape)
    },
    take(key, shape) {
      const layer = key.replace(/\.weight(:int8)?$/, '')
      const { values } = eightBitKeys(layer)
      // of a layer for which something else is fed, and of one that is computed with: stored as [pixels, channels, out, 1]
      if (key === values) return weights.take(values, weights.shape(values))
      if (valuesOf(key) === undefined) return weights.take(key, shape)
      weights.take(eightBitKeys(layer).scales, weights.shape(eightBitKeys(layer).scales))
      return weights.take(values, weights.shape(values))
    },
    assertAllTaken: (unused) => weights.assertAllTaken(unused),
  }
}

function convShape([pixels, channels, out]: readonly number[]): number[] {
  const side = Math.sqrt(pixels as number)
  return [out as number, channels as number, side, side]
}
