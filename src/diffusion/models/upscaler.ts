import type { GraphOptions, WeightSource } from '../graph/graph.ts'
import type { SafetensorsFile } from '../safetensors/safetensors.ts'
import { type RrdbConfig, rrdbGraph } from './rrdbnet.ts'
import { type SrvggConfig, srvggGraph } from './srvgg.ts'

/** What the networks that enlarge pictures have in common. */
export type UpscalerConfig = RrdbConfig | SrvggConfig

/** How many times as wide and high a picture becomes. */
export function scaleOf(config: UpscalerConfig): number {
  return config.kind === 'srvgg' ? config.scale : 2 ** config.doublings / config.square
}

/** A picture's sides must be multiples of this. */
export function multipleOf(config: UpscalerConfig): number {
  return config.kind === 'srvgg' ? 1 : config.square
}

/** How far a pixel can be from those that it depends on, in pixels of the input. */
export function reachOf(config: UpscalerConfig): number {
  if (config.kind === 'srvgg') return config.convolutions + 2
  // five convolutions in each of three parts of a block; those behind the blocks are counted as if nothing were doubled
  return config.square * (15 * config.blocks + 2 + config.doublings + 2)
}

/** Its work for a pixel of the picture that goes in, in millions of multiplications. */
export function workOf(config: UpscalerConfig, { tensors }: Pick<SafetensorsFile, 'tensors'>): number {
  let work = 0
  for (const [key, { shape }] of tensors) {
    const size = shape.reduce((product, dim) => product * dim, 1)
    work += size * pixelsAt(config, key)
  }
  return work / 1e6
}

/** How many pixels a layer computes for one of the picture that goes in. */
function pixelsAt(config: UpscalerConfig, key: string): number {
  if (config.kind === 'srvgg') return 1
  const up = Number(/^conv_up(\d)\./.exec(key)?.[1] ?? (/^conv_(hr|last)\./.test(key) ? config.doublings : 0))
  return 4 ** up / config.square ** 2
}

/** Input `picture` [1, 3, height, width], 0 to 1, sides multiples of `multipleOf`. Output `enlarged`, `scaleOf` times as large. */
export function upscalerGraph(
  config: UpscalerConfig,
  weights: WeightSource,
  height: number,
  width: number,
  options: GraphOptions = {},
): Uint8Array {
  return config.kind === 'srvgg'
    ? srvggGraph(config, weights, height, width, options)
    : rrdbGraph(config, weights, height, width, options)
}
