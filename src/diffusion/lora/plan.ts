import { createHash } from 'node:crypto'
import { assertUnchanged } from '../checkpoint/model.ts'
import { replacementInput } from '../graph/graph.ts'
import type { Feed } from '../runtime/session.ts'
import { NumberReader } from '../safetensors/numbers.ts'
import type { SafetensorsFile, StoredTensor } from '../safetensors/safetensors.ts'
import { downMatrix } from './delta.ts'
import type { Lora, LoraLayer } from './lora.ts'
import { addChange, type Change, scaleOf } from './merge.ts'
import type { LoraPart } from './names.ts'

/** Some LoRAs at some strengths, as one part of the model takes them. */
export interface LoraPlan {
  /** By layer: the rank of its branch in the graph, see `GraphOptions.loraRanks`. */
  readonly ranks: ReadonlyMap<string, number>
  /** Keys of weights and biases that are fed in place of the file's, see `GraphOptions.replaced`. */
  readonly replaced: ReadonlySet<string>
  /** Equal for plans that the same session can run, '' for none: belongs into the session's key. */
  readonly signature: string
  /** Inputs of each run. */
  readonly feeds: Readonly<Record<string, Feed>>
  /** Of the feeds, in memory. */
  readonly bytes: number
}

/** An opened LoRA; a request names its file: `LoraFile`. */
export interface AppliedLora {
  readonly lora: Lora
  /** For each part of the model. May be negative; 0 leaves the LoRA out. */
  readonly strengths: Readonly<Record<LoraPart, number>>
}

export const noLoras: LoraPlan = { ranks: new Map(), replaced: new Set(), signature: '', feeds: {}, bytes: 0 }

/**
 * Reads the numbers of LoRAs and lays them out for a part of a model. Where all that change a layer are pairs of
 * matrices, they become one branch beside it; any other change gives a new weight that is fed in place of the stored
 * one. Changes are added up: each is that of the LoRA alone.
 * @param base the part's own weights
 * @throws CheckpointError if a file has since changed, or has numbers that are not finite
 */
export async function planLoras(
  uses: readonly AppliedLora[],
  part: LoraPart,
  base: SafetensorsFile,
): Promise<LoraPlan> {
  const used = uses.filter(({ lora, strengths }) => strengths[part] !== 0 && lora.layers[part].length > 0)
  if (used.length === 0) return noLoras
  for (const { file } of [...used.map(({ lora }) => lora), { file: base }]) await assertUnchanged(file)
  return withReaders(
    used.map(({ lora }) => lora.file),
    async (readers) => {
      const byLayer = new Map<string, Change[]>()
      for (const [index, { lora, strengths }] of used.entries()) {
        const reader = readers[index] as NumberReader
        for (const layer of lora.layers[part]) {
          const together = byLayer.get(layer.key) ?? []
          together.push({ layer, strength: strengths[part], reader })
          byLayer.set(layer.key, together)
        }
      }
      const ranks = new Map<string, number>()
      const feeds: Record<string, Feed> = {}
      await NumberReader.with(base, async (weights) => {
        const original = (key: string) => weights.read(base.tensors.get(key) as StoredTensor)
        for (const key of [...byLayer.keys()].sort()) {
          const changes = byLayer.get(key) as Change[]
          if (changes.every(({ layer }) => isPair(layer))) ranks.set(key, await addBranch(changes, feeds))
          await addChange(changes, ranks.has(key), original, feeds)
        }
      })
      const prefix = replacementInput('')
      const replaced = Object.keys(feeds).flatMap((name) =>
        name.startsWith(prefix) ? name.slice(prefix.length) : [],
      )
      const bytes = Object.values(feeds).reduce((sum, { data }) => sum + data.byteLength, 0)
      return { ranks, replaced: new Set(replaced), feeds, bytes, signature: signatureOf(ranks, replaced) }
    },
  )
}

/** The bytes of the plan's feeds, before anything is read: at most. */
export function planBytes(uses: readonly AppliedLora[], part: LoraPart): number {
  const layers = uses.flatMap(({ lora, strengths }) => (strengths[part] === 0 ? [] : lora.layers[part]))
  const numbers = layers.map((layer) => {
    const { shape, rank } = layer
    const all = shape.reduce((product, dim) => product * dim, 1)
    const out = shape[0] ?? 1
    return isPair(layer) ? paddedRank(rank ?? out) * (out + all / out) : all
  })
  return 4 * numbers.reduce((sum, each) => sum + each, 0)
}

async function withReaders<T>(
  files: readonly SafetensorsFile[],
  use: (readers: readonly NumberReader[]) => Promise<T>,
  opened: readonly NumberReader[] = [],
): Promise<T> {
  const [next, ...rest] = files
  if (next === undefined) return use(opened)
  return NumberReader.with(next, (reader) => withReaders(rest, use, [...opened, reader]))
}

function isPair({ tensors, shape }: LoraLayer): boolean {
  return shape.length >= 2 && tensors.down !== undefined && !tensors.dora_scale && !tensors.magnitude
}

/**
 * Lays pairs side by side: their ranks add up, rounded to a power of two of 4 at least (by zeros), so that plans differ
 * in few ways and sessions are used again. Strength and alpha go into `up`.
 * @returns the rank
 */
async function addBranch(changes: readonly Change[], feeds: Record<string, Feed>): Promise<number> {
  const { key, shape } = changes[0]!.layer
  const [out, channels, ...kernel] = shape as [number, number, ...number[]]
  const pixels = kernel.reduce((product, dim) => product * dim, 1)
  const rank = paddedRank(changes.reduce((sum, { layer }) => sum + (layer.rank as number), 0))
  const columns = channels * pixels
  const down = new Float32Array(rank * columns)
  const up = new Float32Array(out * rank)
  let begin = 0
  for (const { layer, strength, reader } of changes) {
    const own = layer.rank as number
    const factor = strength * (await scaleOf(layer, reader))
    const low = await downMatrix(layer.tensors, reader)
    for (let row = 0; row < own; row++) {
      // fewer columns: channels that the LoRA does not know, the last ones, stay as they are
      down.set(low.data.subarray(row * low.columns, (row + 1) * low.columns), (begin + row) * columns)
    }
    const high = await reader.read(layer.tensors.up as StoredTensor)
    for (let row = 0; row < out; row++) {
      for (let column = 0; column < own; column++) {
        up[row * rank + begin + column] = high[row * own + column]! * factor
      }
    }
    begin += own
  }
  feeds[`lora:${key}:down`] = {
    data: down,
    dims: pixels === 1 ? [rank, channels] : [rank, channels, ...kernel],
  }
  feeds[`lora:${key}:up`] = { data: up, dims: [out, rank] }
  return rank
}

/** Whether the same LoRAs have the same strengths, in the same order. */
export function sameLoras(a: readonly AppliedLora[], b: readonly AppliedLora[]): boolean {
  return (
    a.length === b.length &&
    a.every(({ lora, strengths: { text, unet } }, i) => {
      const other = b[i] as AppliedLora
      return lora === other.lora && text === other.strengths.text && unet === other.strengths.unet
    })
  )
}

function paddedRank(total: number): number {
  return Math.max(4, 2 ** Math.ceil(Math.log2(total)))
}

function signatureOf(ranks: ReadonlyMap<string, number>, replaced: readonly string[]): string {
  return createHash('sha256')
    .update(JSON.stringify([[...ranks], replaced]))
    .digest('hex')
    .slice(0, 16)
}
