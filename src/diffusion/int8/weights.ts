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
      return shape.length === 4 ? convShape(shape) : linearShape(shape)
    },
    take(key, shape) {
      if (valuesOf(key) === undefined) return weights.take(key, shape)
      // of a layer for which something else is fed: all forms of it are accounted for
      const { values, scales, doubled } = eightBitKeys(key.slice(0, -'.weight'.length))
      for (const each of [scales, doubled.values, doubled.scales]) {
        if (weights.has(each)) weights.take(each, weights.shape(each))
      }
      return weights.take(values, weights.shape(values))
    },
    numbers: (tensor) => weights.numbers(tensor),
    assertAllTaken: (unused) => weights.assertAllTaken(unused),
  }
}

/** Of [in, out], or [parts, in, out of a part]. */
function linearShape(shape: readonly number[]): number[] {
  const [inner, out] = shape.slice(-2) as [number, number]
  return [shape.length === 3 ? out * (shape[0] as number) : out, inner]
}

function convShape([pixels, channels, out]: readonly number[]): number[] {
  const side = Math.sqrt(pixels as number)
  return [out as number, channels as number, side, side]
}
