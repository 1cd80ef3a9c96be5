import type { Precision, WeightSource } from './graph.ts'

/** For graphs that compute with their inputs alone. */
export function withoutWeights(precision: Precision = 'float32'): WeightSource {
  const none = (key: string) => {
    throw new Error(`this graph has no weights, "${key}" was asked for`)
  }
  return {
    fileName: '',
    precision,
    has: () => false,
    shape: none,
    take: none,
    loraRank: () => 0,
    assertAllTaken: () => {},
  }
}
