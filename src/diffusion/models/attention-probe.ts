import { Graph, type Precision } from '../graph/graph.ts'
import { withoutWeights } from '../graph/without-weights.ts'
import { attention, plainAttention } from './layers.ts'

/** Enough keys for the kernel that goes wrong, see `Attention`. */
const [rows, width, heads] = [64, 32, 4]

/** What `attentionProbe` is fed: numbers from -1 to 1. */
export function probeFeeds() {
  const data = Float32Array.from({ length: rows * width }, (_, i) => Math.sin(i * 12.9898))
  return { rows: { data, dims: [rows, width] } }
}

/**
 * Input `rows` [64, 32]. Output `difference` [64, 32]: what fused attention gives more than plain attention does. A
 * provider whose differences reach `probeLimit` needs plain attention.
 */
export function attentionProbe(precision: Precision): Uint8Array {
  const g = new Graph('attention-probe', withoutWeights(), { precision })
  const x = g.input('rows', [rows, width])
  const shape = { batch: 1, heads }
  const fused = attention(g, x, x, x, shape)
  const plain = plainAttention(g, [x, x, x], shape, undefined)
  g.output('difference', g.op('Sub', [fused, plain], x.dims))
  return g.serialize()
}

/** Half precision rounds to less than 1e-3 here; the fault is 2e-2. */
export const probeLimit = 5e-3
