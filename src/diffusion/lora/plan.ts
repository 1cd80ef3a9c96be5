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
  const layers = byLayer(uses, part)
  if (layers.size === 0) return noLoras
  const files = [...new Set(uses.map(({ lora }) => lora.file))]
  for (const file of [...files, base]) await assertUnchanged(file)
  const ranks = new Map<string, number>()
  const feeds: Record<string, Feed> = {}
  await withReaders([base, ...files], async (readers) => {
    const weights = readers.get(base) as NumberReader
    const original = (key: string) => weights.read(base.tensors.get(key) as StoredTensor)
    for (const [key, together] of layers) {
      const changes = together.map(({ layer, strength, lora }) => {
        return { layer, strength, reader: readers.get(lora.file) as NumberReader }
      })
      if (together.every(isPair)) ranks.set(key, await addBranch(changes, feeds))
      await addChange(changes, ranks.has(key), original, feeds)
    }
  })
  const prefix = replacementInput('')
  const replaced = Object.keys(feeds).flatMap((name) =>
    name.startsWith(prefix) ? name.slice(prefix.length) : [],
  )
  const bytes = Object.values(feeds).reduce((sum, { data }) => sum + data.byteLength, 0)
  return { ranks, replaced: new Set(replaced), feeds, bytes, signature: signatureOf(ranks, replaced) }
}

/** What the plan will take in memory, and what it takes to lay out the largest weight. Reads no file. */
export function planBytes(uses: readonly AppliedLora[], part: LoraPart): number {
  let numbers = 0
  let largest = 0
  for (const together of byLayer(uses, part).values()) {
    const { shape } = together[0]!.layer
    const [out, ...inner] = shape as [number, ...number[]]
    const columns = inner.reduce((product, dim) => product * dim, 1)
    if (together.every(isPair)) numbers += rankOf(together) * (out + columns)
    else {
      numbers += out * columns
      largest = Math.max(largest, out * columns)
    }
    numbers += out
  }
  return 4 * (numbers + 3 * largest)
}

interface Use {
  readonly lora: Lora
  readonly layer: LoraLayer
  readonly strength: number
}

/** What is done to each layer, by its key. */
function byLayer(uses: readonly AppliedLora[], part: LoraPart): Map<string, Use[]> {
  const layers = new Map<string, Use[]>()
  for (const { lora, strengths } of uses) {
    const strength = strengths[part]
    for (const layer of strength === 0 ? [] : lora.layers[part]) {
      const together = layers.get(layer.key) ?? []
      together.push({ lora, layer, strength })
      layers.set(layer.key, together)
    }
  }
  return new Map([...layers].sort(([a], [b]) => (a < b ? -1 : 1)))
}

async function withReaders(
  files: readonly SafetensorsFile[],
  use: (readers: ReadonlyMap<SafetensorsFile, NumberReader>) => Promise<void>,
  opened: ReadonlyMap<SafetensorsFile, NumberReader> = new Map(),
): Promise<void> {
  const [next, ...rest] = files
  if (next === undefined) return use(opened)
  return NumberReader.with(next, (reader) => withReaders(rest, use, new Map([...opened, [next, reader]])))
}

function isPair({ layer: { tensors, shape } }: Pick<Use, 'layer'>): boolean {
  return shape.length >= 2 && tensors.down !== undefined && !tensors.dora_scale && !tensors.magnitude
}

/** The sum of all, rounded up to a power of two, so that plans differ in few ways and sessions are used again. */
function rankOf(together: readonly Pick<Use, 'layer'>[]): number {
  const total = together.reduce((sum, { layer }) => sum + (layer.rank as number), 0)
  return Math.max(4, 2 ** Math.ceil(Math.log2(total)))
}

/**
 * Lays pairs side by side, with zeros up to their common rank. Strength and alpha go into `up`.
 * @returns the rank
 */
async function addBranch(changes: readonly Change[], feeds: Record<string, Feed>): Promise<number> {
  const { key, shape } = changes[0]!.layer
  const [out, channels, ...kernel] = shape as [number, number, ...number[]]
  const pixels = kernel.reduce((product, dim) => product * dim, 1)
  const rank = rankOf(changes)
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

function signatureOf(ranks: ReadonlyMap<string, number>, replaced: readonly string[]): string {
  return createHash('sha256')
    .update(JSON.stringify([[...ranks], replaced]))
    .digest('hex')
    .slice(0, 16)
}
