import { Graph, type GraphOptions, type Value, type WeightSource } from '../graph/graph.ts'
import { add, conv } from './layers.ts'
import { toBlocks } from './pixel-blocks.ts'

/** SRVGGNetCompact, the small networks of Real-ESRGAN (`realesr-general-x4v3`, `realesr-animevideov3`). */
export interface SrvggConfig {
  readonly kind: 'srvgg'
  readonly features: number
  /** Convolutions between the first and the last. */
  readonly convolutions: number
  readonly scale: number
}

/**
 * Weights have the names of Real-ESRGAN's `srvgg_arch.py`, with PReLU between the convolutions. Input `picture` [1, 3,
 * height, width], 0 to 1. Output `enlarged` [1, 3, height * scale, width * scale], about 0 to 1.
 */
export function srvggGraph(
  { features, convolutions, scale }: SrvggConfig,
  weights: WeightSource,
  height: number,
  width: number,
  options: GraphOptions = {},
): Uint8Array {
  const g = new Graph('srvgg', weights, options)
  const picture = g.input('picture', [1, 3, height, width])
  let x = picture
  for (let layer = 0; layer <= convolutions; layer++) {
    x = conv(g, `body.${2 * layer}`, x, features, { kernel: 3 })
    x = prelu(g, `body.${2 * layer + 1}`, x)
  }
  x = conv(g, `body.${2 * convolutions + 2}`, x, 3 * scale ** 2, { kernel: 3 })
  const base = g.resize(picture, height * scale, width * scale)
  g.output('enlarged', add(g, toBlocks(g, x, scale), base))
  weights.assertAllTaken()
  return g.serialize()
}

/** A slope for each channel. */
function prelu(g: Graph, key: string, x: Value): Value {
  const channels = x.dims[1] as number
  return g.op('PRelu', [x, g.weight(`${key}.weight`, [channels], [channels, 1, 1])], x.dims)
}
