import { replacementInput } from '../graph/graph.ts'
import type { Feed } from '../runtime/session.ts'
import type { NumberReader } from '../safetensors/numbers.ts'
import type { StoredTensor } from '../safetensors/safetensors.ts'
import { type Matrix, weightDelta } from './delta.ts'
import { perOutput, resized } from './dora.ts'
import type { LoraLayer } from './lora.ts'

/** A LoRA's change of a layer, and how to read its numbers. */
export interface Change {
  readonly layer: LoraLayer
  readonly strength: number
  readonly reader: NumberReader
}

type Difference = (change: Change, stored: Float32Array) => Promise<Float32Array | undefined>

/**
 * The changes of a layer that are no branch: a new weight, and a new bias.
 * @param branched whether the weight's change is a branch already
 * @param original a weight of the model as it is stored, by its key
 */
export async function addChange(
  changes: readonly Change[],
  branched: boolean,
  original: (key: string) => Promise<Float32Array>,
  feeds: Record<string, Feed>,
): Promise<void> {
  const { key, shape } = changes[0]!.layer
  const replace = async (name: string, dims: readonly number[], differenceOf: Difference) => {
    const stored = await original(name)
    let sum: Float32Array | undefined
    for (const change of changes) {
      const difference = await differenceOf(change, stored)
      if (difference === undefined) continue
      sum ??= stored.slice()
      for (let i = 0; i < sum.length; i++) sum[i]! += difference[i]!
    }
    if (sum) feeds[replacementInput(name)] = { data: sum, dims }
  }
  if (!branched) await replace(`${key}.weight`, shape, weightDifference)
  if (changes.some(({ layer }) => layer.tensors.diff_b ?? layer.tensors.up_bias)) {
    await replace(`${key}.bias`, shape.slice(0, 1), biasDifference)
  }
}

async function biasDifference({ layer, strength, reader }: Change): Promise<Float32Array | undefined> {
  const { diff_b, up_bias } = layer.tensors
  const bias = diff_b ?? up_bias
  if (!bias) return undefined
  const factor = strength * (diff_b ? 1 : await scaleOf(layer, reader))
  return (await reader.read(bias)).map((value) => value * factor)
}

async function weightDifference(
  { layer, reader, strength }: Change,
  stored: Float32Array,
): Promise<Float32Array | undefined> {
  const delta = await weightDelta(layer.tensors, reader)
  if (!delta) return undefined
  const { dora_scale, magnitude } = layer.tensors
  // what diffusers reads as PEFT's magnitudes whatever its name
  const magnitudes = magnitude ?? (dora_scale?.shape.length === 1 ? dora_scale : undefined)
  const factor = (await scaleOf(layer, reader)) * (dora_scale && !magnitudes ? 1 : strength)
  const difference = widened(delta, stored.length / delta.rows)
  for (let i = 0; i < difference.length; i++) difference[i]! *= factor
  if (magnitudes) perOutput(await reader.read(magnitudes), stored, difference)
  else if (dora_scale) {
    const sizes = { data: await reader.read(dora_scale), byOutput: dora_scale.shape[0] === layer.shape[0] }
    resized(sizes, layer.shape, stored, difference, strength)
  }
  return difference
}

/** With zeros for the channels that the LoRA does not know, the last ones. */
function widened({ rows, columns, data }: Matrix, wanted: number): Float32Array {
  if (columns === wanted) return data
  const wide = new Float32Array(rows * wanted)
  for (let row = 0; row < rows; row++)
    wide.set(data.subarray(row * columns, (row + 1) * columns), row * wanted)
  return wide
}

/** Alpha / rank of a layer, times the scalar that LyCORIS may train. */
export async function scaleOf({ tensors, rank, scale }: LoraLayer, reader: NumberReader): Promise<number> {
  const number = async (tensor: StoredTensor) => (await reader.read(tensor))[0] as number
  const own = tensors.alpha && rank !== undefined ? (await number(tensors.alpha)) / rank : scale
  return tensors.scalar ? own * (await number(tensors.scalar)) : own
}
