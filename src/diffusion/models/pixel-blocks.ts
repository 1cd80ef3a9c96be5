import type { Graph, Value } from '../graph/graph.ts'

/** Squares of `side` x `side` pixels to channels and back, in torch's order: channel, then row, then column of the square. */

/** [B, C, H, W] to [B, C * side^2, H / side, W / side], as torch's PixelUnshuffle. */
export function fromBlocks(g: Graph, x: Value, side: number): Value {
  if (side === 1) return x
  const [batch, channels, height, width] = x.dims as [number, number, number, number]
  const [rows, columns] = [height / side, width / side]
  const split = g.reshape(x, [batch, channels, rows, side, columns, side])
  return g.reshape(g.transpose(split, [0, 1, 3, 5, 2, 4]), [batch, channels * side ** 2, rows, columns])
}

/** [B, C * side^2, H, W] to [B, C, H * side, W * side], as torch's PixelShuffle. */
export function toBlocks(g: Graph, x: Value, side: number): Value {
  if (side === 1) return x
  const [batch, all, rows, columns] = x.dims as [number, number, number, number]
  const channels = all / side ** 2
  const split = g.reshape(x, [batch, channels, side, side, rows, columns])
  return g.reshape(g.transpose(split, [0, 1, 4, 2, 5, 3]), [batch, channels, rows * side, columns * side])
}
