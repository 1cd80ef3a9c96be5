import { bandsFor } from '../graph/bands.ts'
import type { Graph, Value } from '../graph/graph.ts'

/**
 * 3x3 convolutions in fewer products: Winograd's minimal filtering (https://arxiv.org/abs/1509.09308) by ONNX operators.
 * A tile of m x m outputs sees a = m + 2 inputs along each axis. Inputs and kernels are polynomials along each axis, and products of
 * their values at a - 1 points and infinity take the place of sums over the kernel: a * a products in place of 9 * m * m.
 */

type Matrix = readonly (readonly number[])[]

/** m */
export type Tile = 2 | 4

/** What takes a plane to the points and back, as matrices for planes that are flattened row by row. */
interface Filter {
  /** [a * a, a * a] */
  readonly input: Matrix
  /** [a * a, 9] */
  readonly kernel: Matrix
  /** [m * m, a * a] */
  readonly output: Matrix
}

const filters: Readonly<Record<Tile, Filter>> = {
  /** 16 products for 4 outputs. The relative error of a layer is 4e-7, hardly more than that of the convolution itself. */
  2: filterFor(2, [0, 1, -1]),
  /**
   * 36 products for 16 outputs. The error of a layer is 1.1e-6, less than half of what the usual points 0, 1, -1, 2, -2 give: the powers
   * of these are of like sizes (docs/performance.md).
   */
  4: filterFor(4, [0, 5 / 8, -5 / 8, 3 / 2, -3 / 2]),
}

/** Toom and Cook's construction (Lavin and Gray, section 4); infinity is the last of the points. */
function filterFor(tile: number, points: readonly number[]): Filter {
  const others = (point: number) => points.filter((other) => other !== point)
  const atInfinity = (length: number) => powers(0, length).toReversed()
  const kernel = points.map((point) => {
    const scale = others(point).reduce((product, other) => product * (point - other), 1)
    return powers(point, 3).map((power) => power / scale)
  })
  const columns = [...points.map((point) => powers(point, tile)), atInfinity(tile)]
  return {
    input: forPlane([...points.map((point) => [...withRoots(others(point)), 0]), withRoots(points)]),
    kernel: forPlane([...kernel, atInfinity(3)]),
    output: forPlane(powers(1, tile).map((_, row) => columns.map((column) => column[row] as number))),
  }
}

function powers(base: number, length: number): number[] {
  return Array.from({ length }, (_, exponent) => base ** exponent)
}

/** Coefficients of the product of all (x - root), the constant first. */
function withRoots(roots: readonly number[]): number[] {
  return roots.reduce(
    (polynomial, root) => polynomial.concat(0).map((c, power) => (polynomial[power - 1] ?? 0) - root * c),
    [1],
  )
}

/** For both axes: the Kronecker product with itself. */
function forPlane(matrix: Matrix): Matrix {
  return matrix.flatMap((above) =>
    matrix.map((below) => above.flatMap((first) => below.map((second) => first * second))),
  )
}

/** Layers of fewer channels gain nothing: work on each number outweighs the products that are saved. */
export const worthWinograd = 256

/**
 * For a layer that gains from it: with fewer than 64 tiles, reading weights for all points takes longer than the products that are saved.
 * The batch does not matter, so that a picture's bits do not depend on others.
 * @param dims of the output, [B, out, H, W]
 */
export function winogradTile(
  g: Graph,
  layer: string,
  channels: number,
  [, out, height, width]: readonly [number, number, number, number],
): Tile | undefined {
  if (Math.min(channels, out) < g.winogradFrom || g.isFed(layer)) return undefined
  if (height * width >= 1024) return 4
  return height * width >= 256 ? 2 : undefined
}

interface WinogradConv {
  readonly tile: Tile
  /** [out] */
  readonly bias: Value | undefined
  /** The picture is enlarged to twice its size first, by repeating its pixels. */
  readonly enlarged?: boolean
}

/**
 * A 3x3 convolution with a border of one. Its weights are those at the points: [a * a, C, out] for each layer, made at load.
 * @param x [B, C, H, W] @returns [B, out, H, W], or of twice the size
 */
export function winogradConv(
  g: Graph,
  layer: string,
  x: Value,
  out: number,
  { tile, bias, enlarged = false }: WinogradConv,
): Value {
  const [batch, channels, height, width] = x.dims as [number, number, number, number]
  const scale = enlarged ? 2 : 1
  const picture = bordered(g, x, { tile, scale })
  const points = (tile + 2) ** 2
  const shape = [out, channels, 3, 3]
  const weights = g.madeOfWeight(`${layer}.weight`, shape, [out, channels, 9], (weight) => {
    const inputs = [transform(g, tile, 'kernel'), weight]
    return g.op('Einsum', inputs, [points, channels, out], { equation: 'pk,ock->pco' })
  })
  const [high, wide] = [scale * height, scale * width]
  const across = Math.ceil(wide / tile)
  const rowBytes = 4 * points * batch * across * Math.max(channels, out)
  const bands = bandsFor(Math.ceil(high / tile), rowBytes).map(({ top, rows: down }) => {
    const grid = {
      tile,
      scale,
      batch,
      top,
      down,
      across,
      high: Math.min(high - top * tile, down * tile),
      wide,
    }
    const tiles = batch * down * across
    const values = transformed(g, tile, 'input', tilesOf(g, picture, grid))
    const inputs = [g.reshape(values, [points, tiles, channels]), weights]
    const products = g.reshape(g.op('MatMul', inputs, [points, tiles, out]), [points, tiles * out])
    return pixelsOf(g, transformed(g, tile, 'output', products), out, grid)
  })
  const dims = [batch, high, wide, out]
  const pixels = bands.length === 1 ? (bands[0] as Value) : g.op('Concat', bands, dims, { axis: 1 })
  return g.transpose(bias ? g.op('Add', [pixels, bias], dims) : pixels, [0, 3, 1, 2])
}

function transform(g: Graph, tile: Tile, part: keyof Filter): Value {
  const matrix = filters[tile][part]
  const dims = [matrix.length, (matrix[0] as readonly number[]).length]
  return g.constant(`winograd ${tile} ${part}`, matrix.flat(), dims)
}

/** @param values [places of a tile, numbers] @returns [places after it, numbers] */
function transformed(g: Graph, tile: Tile, part: 'input' | 'output', values: Value): Value {
  const matrix = transform(g, tile, part)
  return g.op('MatMul', [matrix, values], [matrix.dims[0] as number, values.dims[1] as number])
}

/** Where pixel `at` of the enlarged picture (-1 for the border) is in the bordered one, along one axis. */
function place(at: number, scale: number): number {
  return Math.floor(at / scale) + 1
}

/** Channels last, with a border of zeros that the tiles at all edges see. @returns [B, rows, columns, C] */
function bordered(g: Graph, x: Value, { tile, scale }: { tile: Tile; scale: number }): Value {
  const [, , height, width] = x.dims as [number, number, number, number]
  const after = (length: number) => place(Math.ceil((scale * length) / tile) * tile, scale) - length
  const pads = [1, 1, after(height), after(width)] as const
  return g.padded(g.transpose(x, [0, 2, 3, 1]), pads, g.constant('zero', [0], []))
}

/** A band of tiles. */
interface Grid {
  readonly tile: Tile
  readonly scale: number
  readonly batch: number
  /** The first row of tiles, and how many rows of them. */
  readonly top: number
  readonly down: number
  readonly across: number
  /** Of the output, in pixels: tiles may reach beyond it. */
  readonly high: number
  readonly wide: number
}

/** What each tile sees. @param picture [B, rows, columns, C] @returns [a * a, B * down * across * C] */
function tilesOf(g: Graph, picture: Value, grid: Grid): Value {
  const { tile, scale, batch, top, down, across } = grid
  const [, rows, columns, channels] = picture.dims as [number, number, number, number]
  const size = tile + 2
  const count = size * size * batch * down * across
  const pixels = g.reshape(picture, [1, batch * rows * columns, channels])
  const seen = g.gathered(pixels, `tiles ${Object.values(grid)} of ${rows}x${columns}`, () => {
    const indices = new Int32Array(count)
    let at = 0
    for (let inside = 0; inside < size * size; inside++) {
      const [y, x] = [Math.floor(inside / size) - 1, (inside % size) - 1]
      for (let row = 0; row < batch * down; row++) {
        const line = place((top + (row % down)) * tile + y, scale) + Math.floor(row / down) * rows
        for (let column = 0; column < across; column++) {
          indices[at++] = line * columns + place(column * tile + x, scale)
        }
      }
    }
    return indices
  })
  return g.reshape(seen, [size * size, (count * channels) / (size * size)])
}

/** From the order of places in a tile to that of the picture. @param outputs [m * m, B * down * across * out] @returns [B, high, wide, out] */
function pixelsOf(g: Graph, outputs: Value, out: number, grid: Grid): Value {
  const { tile, batch, down, across, high, wide } = grid
  const tiles = batch * down * across
  const flat = g.reshape(outputs, [1, tile * tile * tiles, out])
  const ordered = g.gathered(flat, `pixels ${Object.values(grid)}`, () => {
    const indices = new Int32Array(batch * high * wide)
    let at = 0
    for (let row = 0; row < batch * high; row++) {
      const y = row % high
      const line = Math.floor(row / high) * down + Math.floor(y / tile)
      for (let x = 0; x < wide; x++) {
        const inside = (y % tile) * tile + (x % tile)
        indices[at++] = (inside * batch * down + line) * across + Math.floor(x / tile)
      }
    }
    return indices
  })
  return g.reshape(ordered, [batch, high, wide, out])
}
