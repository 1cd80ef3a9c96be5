import { basename, extname } from 'node:path'
import { families, familyAt } from '../checkpoint/families.ts'
import { classify } from '../checkpoint/family.ts'
import { CheckpointError, refused } from '../errors.ts'
import { foreignName } from '../safetensors/foreign-file.ts'
import {
  isFloat,
  openSafetensors,
  readRows,
  type SafetensorsFile,
  type StoredTensor,
} from '../safetensors/safetensors.ts'

/** Learned vectors that replace their name in a prompt (https://arxiv.org/abs/2208.01618). */
export interface TextualInversion {
  /** The file's name without its extension, as prompts refer to it. */
  readonly name: string
  /** [count, width] */
  readonly vectors: Float32Array
  readonly count: number
  /** Length of one vector; 768 for Stable Diffusion 1.x. */
  readonly width: number
}

/** The size of a prompt window. */
const maxVectors = 75

/**
 * Reads a textual inversion: one tensor [count, width] or [width] under any key. AUTOMATIC1111 writes it as
 * `emb_params`, diffusers under the token that was trained.
 * @throws CheckpointError naming the file and the fault
 */
export async function openTextualInversion(path: string): Promise<TextualInversion> {
  const foreign = foreignName(path)
  if (foreign) throw refused(path, foreign)
  const file = await openSafetensors(path)
  const tensor = vectorsOf(path, file)
  const [count, width] = tensor.shape as [number, number]
  const vectors = await readRows(file, tensor, [...Array(count).keys()])
  if (!vectors.every(Number.isFinite)) {
    throw new CheckpointError(`${path}: "${tensor.key}" contains infinite or NaN values`, {
      reason: 'the embedding contains infinite or NaN values: it is damaged',
    })
  }
  return { name: basename(path, extname(path)), vectors, count, width }
}

/**
 * The vectors of an embedding: the one tensor of the file, as a matrix [count, width].
 * @param path as it was given, for messages @throws CheckpointError if the file cannot be used as an embedding
 */
export function vectorsOf(path: string, { tensors }: Pick<SafetensorsFile, 'tensors'>): StoredTensor {
  if (tensors.has('clip_g') || tensors.has('clip_l')) {
    const reason = `this is an embedding for ${families.sdxl.name}; use one made for ${families.sd1.name}`
    throw refused(path, reason)
  }
  const [tensor] = tensors.values()
  if (!tensor || tensors.size > 1) {
    const { description } = classify(tensors)
    throw new CheckpointError(
      `${path}: an embedding has one tensor, but this file has ${tensors.size}; it is ${description}`,
      { reason: 'an embedding has one tensor, but the file has several' },
    )
  }
  const { key, dtype, shape } = tensor
  if (!isFloat(dtype)) {
    throw new CheckpointError(`${path}: "${key}" has dtype ${dtype}; it must be F16, BF16, F32 or F64`, {
      reason: `its vectors are stored as ${dtype}, which is not supported`,
    })
  }
  if (shape.length < 1 || shape.length > 2 || shape.includes(0)) {
    throw new CheckpointError(
      `${path}: "${key}" has shape [${shape.join(', ')}]; an embedding has [vectors, width]`,
      { reason: 'its numbers are not the vectors of an embedding' },
    )
  }
  const [count, width] = shape.length === 1 ? [1, shape[0]!] : [shape[0]!, shape[1]!]
  if (count > maxVectors) {
    throw refused(path, `its ${count} vectors do not fit into a prompt window of ${maxVectors} tokens`)
  }
  return { ...tensor, shape: [count, width] }
}

/** @throws CheckpointError naming both families if the text encoder does not have the embedding's width */
export function checkWidth({ name, width }: TextualInversion, expected: number): void {
  if (width === expected) return
  const named = (value: number) => {
    const family = familyAt(value)
    return family === undefined ? `${value} wide` : `${value} wide (${families[family].name})`
  }
  const reason = `it is ${named(width)}, but the model's text encoder is ${named(expected)}; use one made for this model`
  throw new CheckpointError(`embedding "${name}" is ${reason.slice('it is '.length)}`, {
    reason,
    subject: `The embedding ${name}`,
  })
}
