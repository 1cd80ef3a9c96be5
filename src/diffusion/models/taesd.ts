import { CheckpointError } from '../errors.ts'
import { Graph, type GraphOptions, type Value, type WeightSource } from '../graph/graph.ts'
import { add, conv } from './layers.ts'

/**
 * TAESD (https://github.com/madebyollin/taesd), diffusers' AutoencoderTiny: a VAE of 1.2 million numbers that knows the
 * latents of another, as they are sampled. Weights have diffusers' names. The architecture is a list of layers, and which
 * layer is at a place can be read off the weights that are there.
 */

/** The tanh that the decoder begins with keeps latents within this. */
const widest = 3

/**
 * Input `latent` [1, channels, H, W] as sampled. Output `picture` [1, 3, H * scale, W * scale], about -1 to 1.
 * @throws CheckpointError if a layer is missing or of another shape
 */
export function tinyDecoderGraph(
  channels: number,
  weights: WeightSource,
  height: number,
  width: number,
  options: GraphOptions = {},
): Uint8Array {
  const g = new Graph('tiny-decoder', weights, options)
  const latent = g.input('latent', [1, channels, height, width])
  const soft = g.op('Tanh', [times(g, latent, 1 / widest)], latent.dims)
  const key = (layer: number) => `decoder.layers.${layer}`
  let x = relu(g, conv(g, key(0), times(g, soft, widest), featuresOf(weights, key(0)), { kernel: 3 }))
  const last = lastLayer(weights, 'decoder')
  for (let layer = 2; layer < last; layer++) {
    if (isBlock(weights, key(layer))) x = block(g, key(layer), x, featuresOf(weights, `${key(layer)}.conv.0`))
    else {
      const [, , h, w] = x.dims as [number, number, number, number]
      layer += 1
      const out = featuresOf(weights, key(layer))
      x = conv(g, key(layer), g.resize(x, 2 * h, 2 * w), out, { kernel: 3, bias: false })
    }
  }
  const picture = conv(g, key(last), x, 3, { kernel: 3 })
  g.output('picture', add(g, times(g, picture, 2), g.constant('-1', [-1], [1])))
  weights.assertAllTaken(['encoder.'])
  return g.serialize()
}

/**
 * Input `picture` [1, 3, H, W], -1 to 1, both sides multiples of the scale. Output `latent` [1, channels, H / scale, W /
 * scale], as a sampler takes them.
 * @throws CheckpointError if a layer is missing or of another shape
 */
export function tinyEncoderGraph(
  channels: number,
  weights: WeightSource,
  height: number,
  width: number,
  options: GraphOptions = {},
): Uint8Array {
  const g = new Graph('tiny-encoder', weights, options)
  const picture = g.input('picture', [1, 3, height, width])
  const half = g.constant('0.5', [0.5], [1])
  const key = (layer: number) => `encoder.layers.${layer}`
  let x = add(g, times(g, picture, 0.5), half)
  x = conv(g, key(0), x, featuresOf(weights, key(0)), { kernel: 3 })
  const last = lastLayer(weights, 'encoder')
  for (let layer = 1; layer < last; layer++) {
    if (isBlock(weights, key(layer))) x = block(g, key(layer), x, featuresOf(weights, `${key(layer)}.conv.0`))
    else x = conv(g, key(layer), x, featuresOf(weights, key(layer)), { kernel: 3, stride: 2, bias: false })
  }
  g.output('latent', conv(g, key(last), x, channels, { kernel: 3 }))
  weights.assertAllTaken(['decoder.'])
  return g.serialize()
}

/** Pixels per latent: the decoder doubles the size at each convolution between its blocks. */
export function tinyScale(weights: WeightSource): number {
  let doublings = 0
  for (let layer = 1; layer < lastLayer(weights, 'decoder'); layer++) {
    if (weights.has(`decoder.layers.${layer}.weight`)) doublings += 1
  }
  return 2 ** doublings
}

/** The files of TAESD have up to 19; the bound is for those of strangers. */
const mostLayers = 64

function lastLayer(weights: WeightSource, part: 'encoder' | 'decoder'): number {
  for (let layer = mostLayers; layer > 0; layer--) {
    if (weights.has(`${part}.layers.${layer}.weight`)) return layer
  }
  throw new CheckpointError(`${weights.fileName}: the ${part} has no last layer`)
}

function featuresOf(weights: WeightSource, key: string): number {
  return weights.shape(`${key}.weight`)[0] as number
}

function isBlock(weights: WeightSource, key: string): boolean {
  return weights.has(`${key}.conv.0.weight`)
}

/** Three convolutions around a short cut. */
function block(g: Graph, key: string, x: Value, out: number): Value {
  let h = relu(g, conv(g, `${key}.conv.0`, x, out, { kernel: 3 }))
  h = relu(g, conv(g, `${key}.conv.2`, h, out, { kernel: 3 }))
  h = conv(g, `${key}.conv.4`, h, out, { kernel: 3 })
  const short = x.dims[1] === out ? x : conv(g, `${key}.skip`, x, out, { kernel: 1, bias: false })
  return relu(g, add(g, h, short))
}

function relu(g: Graph, x: Value): Value {
  return g.op('Relu', [x], x.dims)
}

function times(g: Graph, x: Value, factor: number): Value {
  return g.op('Mul', [x, g.constant(String(factor), [factor], [1])], x.dims)
}
