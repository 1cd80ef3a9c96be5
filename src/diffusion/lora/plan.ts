import { createHash } from 'node:crypto'
import type { Feed } from '../runtime/session.ts'
import type { Lora, LoraLayer } from './lora.ts'
import type { LoraPart } from './names.ts'

/** Some LoRAs at some strengths, as one part of the model takes them. */
export interface LoraPlan {
  /** By layer: the rank of its branch in the graph, see `GraphOptions.loraRanks`. */
  readonly ranks: ReadonlyMap<string, number>
  /** Equal for plans that the same session can run, '' for none: belongs into the session's key. */
  readonly signature: string
  /** Inputs of each run. */
  readonly feeds: Readonly<Record<string, Feed>>
}

/** An opened LoRA; a request names its file: `LoraFile`. */
export interface AppliedLora {
  readonly lora: Lora
  /** May be negative; 0 leaves the LoRA out. */
  readonly strength: number
}

/**
 * Lays several LoRAs side by side: their ranks add up, rounded to a power of two of 4 at least (by zeros), so that
 * plans differ in few ways and sessions are used again. Strength and alpha go into `up`.
 */
export function planLoras(uses: readonly AppliedLora[], part: LoraPart): LoraPlan {
  const byLayer = new Map<string, { layer: LoraLayer; factor: number }[]>()
  for (const { lora, strength } of uses) {
    if (strength === 0) continue
    for (const layer of lora.layers[part]) {
      const together = byLayer.get(layer.key) ?? []
      together.push({ layer, factor: strength * layer.scale })
      byLayer.set(layer.key, together)
    }
  }
  const ranks = new Map<string, number>()
  const feeds: Record<string, Feed> = {}
  for (const key of [...byLayer.keys()].sort()) {
    const together = byLayer.get(key) ?? []
    const { inner, out } = together[0]!.layer
    const rank = paddedRank(together.reduce((sum, { layer }) => sum + layer.rank, 0))
    ranks.set(key, rank)
    const down = new Float32Array(inner.reduce((product, dim) => product * dim, rank))
    const up = new Float32Array(out * rank)
    let begin = 0
    for (const { layer, factor } of together) {
      down.set(layer.down, (begin * down.length) / rank)
      for (let row = 0; row < out; row++) {
        for (let column = 0; column < layer.rank; column++) {
          up[row * rank + begin + column] = layer.up[row * layer.rank + column]! * factor
        }
      }
      begin += layer.rank
    }
    feeds[`lora:${key}:down`] = { data: down, dims: [rank, ...inner] }
    feeds[`lora:${key}:up`] = { data: up, dims: [out, rank] }
  }
  return { ranks, feeds, signature: signatureOf(ranks) }
}

/** Whether the same LoRAs have the same strengths, in the same order. */
export function sameLoras(a: readonly AppliedLora[], b: readonly AppliedLora[]): boolean {
  return (
    a.length === b.length &&
    a.every(({ lora, strength }, i) => lora === b[i]?.lora && strength === b[i].strength)
  )
}

function paddedRank(total: number): number {
  return Math.max(4, 2 ** Math.ceil(Math.log2(total)))
}

function signatureOf(ranks: ReadonlyMap<string, number>): string {
  if (ranks.size === 0) return ''
  return createHash('sha256')
    .update(JSON.stringify([...ranks]))
    .digest('hex')
    .slice(0, 16)
}
