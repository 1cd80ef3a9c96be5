import { type Content, tensorOf } from './parity/variants.ts'

/** The weights of make_enlarge_golden.py, bit for bit: numbers of true shapes without a meaning. */

/** `count` numbers from -1 to 1 that depend on the key alone: FNV-1a of it, then murmur3's finalizer. */
export function hashed(key: string, count: number): Float32Array {
  let seed = 2166136261
  for (const byte of Buffer.from(key)) seed = Math.imul(seed ^ byte, 16777619)
  const values = new Float32Array(count)
  for (let i = 0; i < count; i++) {
    let x = (Math.imul(i, 2654435761) + seed) | 0
    x = Math.imul(x ^ (x >>> 16), 0x85ebca6b)
    x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35)
    values[i] = ((x ^ (x >>> 16)) >>> 0) / 2 ** 31 - 1
  }
  return values
}

function weight(key: string, shape: readonly number[]): Float32Array {
  const count = shape.reduce((product, dim) => product * dim, 1)
  const values = hashed(key, count)
  const scale =
    shape.length > 1 ? Math.sqrt((3 * (shape[0] as number)) / count) : key.endsWith('bias') ? 0.1 : 0.2
  const shift = shape.length === 1 && key.endsWith('weight') ? Math.fround(0.25) : 0
  const factor = Math.fround(scale)
  for (let i = 0; i < count; i++) values[i] = Math.fround(values[i]! * factor) + shift
  return values
}

type Shapes = [key: string, shape: number[]][]

const conv = (key: string, out: number, inner: number, { kernel = 3, bias = true } = {}): Shapes => [
  [`${key}.weight`, [out, inner, kernel, kernel]],
  ...(bias ? ([[`${key}.bias`, [out]]] as Shapes) : []),
]

/** BasicSR's names. */
export function rrdbShapes({
  num_feat: n,
  num_block: blocks,
  num_grow_ch: grow,
  scale,
}: RrdbArguments): Shapes {
  const dense = (key: string) => [
    ...[1, 2, 3, 4].flatMap((part) => conv(`${key}.conv${part}`, grow, n + (part - 1) * grow)),
    ...conv(`${key}.conv5`, n, n + 4 * grow),
  ]
  const body = Array.from({ length: blocks }, (_, i) => [1, 2, 3].flatMap((j) => dense(`body.${i}.rdb${j}`)))
  const inner = ['conv_body', 'conv_up1', 'conv_up2', 'conv_hr'].flatMap((key) => conv(key, n, n))
  return [
    ...conv('conv_first', n, 3 * (4 / scale) ** 2),
    ...body.flat(),
    ...inner,
    ...conv('conv_last', 3, n),
  ]
}

export function srvggShapes({ num_feat: n, num_conv: convs, upscale }: SrvggArguments): Shapes {
  const layers = Array.from({ length: convs + 1 }, (_, i) => [
    ...conv(`body.${2 * i}`, n, i === 0 ? 3 : n),
    [`body.${2 * i + 1}.weight`, [n]] as [string, number[]],
  ])
  return [...layers.flat(), ...conv(`body.${2 * convs + 2}`, 3 * upscale ** 2, n)]
}

/** AutoencoderTiny's, with as many latent channels. */
export function taesdShapes(channels = 4): Shapes {
  const n = 64
  const block = (key: string) => [0, 2, 4].flatMap((part) => conv(`${key}.conv.${part}`, n, n))
  const part = (name: string, first: number, last: number, plan: string) =>
    [...plan].flatMap((kind, i): Shapes => {
      const key = `${name}.layers.${i}`
      if (kind === 'b') return block(key)
      if (kind === 'c') return conv(key, n, n, { bias: false })
      if (kind === '<') return conv(key, n, first)
      return kind === '>' ? conv(key, last, n) : []
    })
  return [
    ...part('encoder', 3, channels, '<bcbbbcbbbcbbb>'),
    ...part('decoder', channels, 3, '< bbb cbbb cbbb cb>'),
  ]
}

export interface RrdbArguments {
  readonly num_feat: number
  readonly num_block: number
  readonly num_grow_ch: number
  readonly scale: number
}
export interface SrvggArguments {
  readonly num_feat: number
  readonly num_conv: number
  readonly upscale: number
}

/** A file with these weights, their names changed by `rename`; those it has no name for are left out. */
export function contentOf(
  shapes: Shapes,
  rename: (key: string) => string | undefined = (key) => key,
): Content {
  const tensors = shapes.flatMap(([key, shape]) => {
    const name = rename(key)
    return name === undefined ? [] : [[name, tensorOf(weight(key, shape), shape, 'F32')] as const]
  })
  return { tensors: new Map(tensors), metadata: {} }
}

const oldTail = ['conv_up1', 'conv_up2', 'conv_hr', 'conv_last']

/** The names in files of ESRGAN as it was first written. */
export function oldName(blocks: number): (key: string) => string {
  return (key) => {
    const [layer, end] = [key.replace(/\.\w+$/, ''), key.split('.').at(-1)]
    const [, block, dense, part] = /^body\.(\d+)\.rdb(\d)\.conv(\d)$/.exec(layer) ?? []
    if (block !== undefined) return `model.1.sub.${block}.RDB${dense}.conv${part}.0.${end}`
    if (layer === 'conv_first') return `model.0.${end}`
    if (layer === 'conv_body') return `model.1.sub.${blocks}.${end}`
    return `model.${[3, 6, 8, 10][oldTail.indexOf(layer)]}.${end}`
  }
}

/** Those of its second version. */
export function trunkName(key: string): string {
  return key
    .replace(/^body\.(\d+)\.rdb/, 'RRDB_trunk.$1.RDB')
    .replace('conv_body', 'trunk_conv')
    .replace('conv_up', 'upconv')
    .replace('conv_hr', 'HRconv')
}

/** TAESD's own names: half a model a file, and the decoder's first layer is the tanh. */
export function originalTaesd(part: 'encoder' | 'decoder'): (key: string) => string | undefined {
  return (key) => {
    const [, found, layer, rest] = /^(\w+)\.layers\.(\d+)\.(.+)$/.exec(key) ?? []
    return found === part ? `${Number(layer) + (part === 'decoder' ? 1 : 0)}.${rest}` : undefined
  }
}
