import { Graph, type GraphOptions, type Value, type WeightSource } from '../graph/graph.ts'
import { add, conv } from './layers.ts'
import { fromBlocks } from './pixel-blocks.ts'

/** RRDBNet, the network of ESRGAN and Real-ESRGAN (https://arxiv.org/abs/1809.00219, https://arxiv.org/abs/2107.10833). */
export interface RrdbConfig {
  readonly kind: 'rrdbnet'
  /** Channels between blocks, and those that each convolution of a dense block adds. */
  readonly features: number
  readonly growth: number
  readonly blocks: number
  /** How often the size is doubled. */
  readonly doublings: number
  /** Squares of so many pixels become channels first: the picture must have sides that are multiples of it. */
  readonly square: 1 | 2 | 4
}

const slope = 0.2
/** Of what a block adds to its input. */
const share = 0.2

/**
 * Weights have the names of BasicSR's `rrdbnet_arch.py`. Input `picture` [1, 3, height, width], 0 to 1. Output `enlarged`,
 * so many times as large as `scaleOf` says, about 0 to 1.
 */
export function rrdbGraph(
  config: RrdbConfig,
  weights: WeightSource,
  height: number,
  width: number,
  options: GraphOptions = {},
): Uint8Array {
  const g = new Graph('rrdbnet', weights, options)
  const { features, blocks, doublings, square } = config
  const picture = g.input('picture', [1, 3, height, width])
  const first = conv(g, 'conv_first', fromBlocks(g, picture, square), features, { kernel: 3 })
  let x = first
  for (let block = 0; block < blocks; block++) {
    let inner = x
    for (const part of [1, 2, 3]) inner = denseBlock(g, `body.${block}.rdb${part}`, inner, config)
    x = added(g, inner, x)
  }
  x = add(g, first, conv(g, 'conv_body', x, features, { kernel: 3 }))
  for (let step = 1; step <= doublings; step++) {
    const [, , h, w] = x.dims as [number, number, number, number]
    x = leaky(g, conv(g, `conv_up${step}`, g.resize(x, 2 * h, 2 * w), features, { kernel: 3 }))
  }
  x = leaky(g, conv(g, 'conv_hr', x, features, { kernel: 3 }))
  g.output('enlarged', conv(g, 'conv_last', x, 3, { kernel: 3 }))
  weights.assertAllTaken()
  return g.serialize()
}

/** Five convolutions, each of which sees the input and what all before it made. */
function denseBlock(g: Graph, key: string, x: Value, { features, growth }: RrdbConfig): Value {
  const seen = [x]
  for (const part of [1, 2, 3, 4]) {
    seen.push(leaky(g, conv(g, `${key}.conv${part}`, joined(g, seen), growth, { kernel: 3 })))
  }
  return added(g, conv(g, `${key}.conv5`, joined(g, seen), features, { kernel: 3 }), x)
}

/** Channels behind one another. */
function joined(g: Graph, values: readonly Value[]): Value {
  const [first, ...others] = values as [Value, ...Value[]]
  if (others.length === 0) return first
  const [batch, , height, width] = first.dims as [number, number, number, number]
  const channels = values.reduce((sum, { dims }) => sum + (dims[1] as number), 0)
  return g.op('Concat', values, [batch, channels, height, width], { axis: 1 })
}

function added(g: Graph, change: Value, x: Value): Value {
  return add(g, g.op('Mul', [change, g.constant(String(share), [share], [1])], change.dims), x)
}

function leaky(g: Graph, x: Value): Value {
  return g.op('LeakyRelu', [x], x.dims, { alpha: { float: slope } })
}
