import type { NumberReader } from '../safetensors/numbers.ts'
import type { StoredTensor } from '../safetensors/safetensors.ts'
import type { LoraTensors } from './keys.ts'

/**
 * What a layer of a LoRA file adds to the weight of a layer of the model, as a whole matrix. Shapes are checked before
 * (`checkLayer`); a kernel's pixels are the last axis.
 */

/** A matrix; `columns` counts input channels times pixels. */
export interface Matrix {
  readonly rows: number
  readonly columns: number
  readonly data: Float32Array
}

/**
 * Without scale and strength.
 * @returns [out, in * pixels]; undefined if the file leaves the weight as it is
 */
export async function weightDelta(tensors: LoraTensors, reader: NumberReader): Promise<Matrix | undefined> {
  const { up, hada_w1_a: hadamard, lokr_w1, lokr_w1_a, diff } = tensors
  const read = (tensor: StoredTensor | undefined) => matrix(reader, tensor as StoredTensor)
  if (up) return product(await read(up), await downMatrix(tensors, reader))
  if (hadamard) {
    const one = await factors(read, tensors.hada_w1_a, tensors.hada_w1_b, tensors.hada_t1)
    const other = await factors(read, tensors.hada_w2_a, tensors.hada_w2_b, tensors.hada_t2)
    for (let i = 0; i < one.data.length; i++) one.data[i]! *= other.data[i]!
    return one
  }
  if (lokr_w1 ?? lokr_w1_a) {
    const outer = lokr_w1 ? await read(lokr_w1) : await factors(read, lokr_w1_a, tensors.lokr_w1_b, undefined)
    const inner = tensors.lokr_w2
      ? await read(tensors.lokr_w2)
      : await factors(read, tensors.lokr_w2_a, tensors.lokr_w2_b, tensors.lokr_t2)
    return kronecker(outer, inner)
  }
  return diff && read(diff)
}

/** The matrix `down` [rank, in * pixels], with LyCORIS' small convolution merged into it if there is one. */
export async function downMatrix({ down, mid }: LoraTensors, reader: NumberReader): Promise<Matrix> {
  const plain = await matrix(reader, down as StoredTensor)
  return mid ? through(await matrix(reader, mid), plain) : plain
}

/** The first axis by all others. */
async function matrix(reader: NumberReader, tensor: StoredTensor): Promise<Matrix> {
  const rows = tensor.shape[0] ?? 1
  const data = await reader.read(tensor)
  return { rows, columns: data.length / rows, data }
}

/** a b; or with `core` [rank, rank, pixels] between them ("Tucker"), a then being stored the other way around. */
async function factors(
  read: (tensor: StoredTensor | undefined) => Promise<Matrix>,
  a: StoredTensor | undefined,
  b: StoredTensor | undefined,
  core: StoredTensor | undefined,
): Promise<Matrix> {
  if (core) return product(transposed(await read(a)), through(await read(core), await read(b)))
  return product(await read(a), await read(b))
}

function product(a: Matrix, b: Matrix): Matrix {
  const [rows, columns, inner] = [a.rows, b.columns, b.rows]
  const data = new Float32Array(rows * columns)
  for (let i = 0; i < rows; i++) {
    const out = data.subarray(i * columns, (i + 1) * columns)
    // four rows of b at once: a sum is loaded and stored a quarter as often
    for (let p = 0; p < inner; p += 4) {
      const factor = (q: number) => (q < inner ? a.data[i * inner + q]! : 0)
      const row = (q: number) => b.data.subarray(Math.min(q, inner - 1) * columns)
      const [f0, f1, f2, f3] = [factor(p), factor(p + 1), factor(p + 2), factor(p + 3)]
      const [b0, b1, b2, b3] = [row(p), row(p + 1), row(p + 2), row(p + 3)]
      for (let j = 0; j < columns; j++) {
        out[j]! += f0 * b0[j]! + f1 * b1[j]! + f2 * b2[j]! + f3 * b3[j]!
      }
    }
  }
  return { rows, columns, data }
}

function transposed({ rows, columns, data }: Matrix): Matrix {
  const turned = new Float32Array(data.length)
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++) turned[j * rows + i] = data[i * columns + j]!
  return { rows: columns, columns: rows, data: turned }
}

/** @param core [rank, rank * pixels] @param down [rank, in] @returns [rank, in * pixels] */
function through(core: Matrix, down: Matrix): Matrix {
  const [rank, channels] = [down.rows, down.columns]
  const pixels = core.columns / rank
  const data = new Float32Array(rank * channels * pixels)
  for (let p = 0; p < rank; p++) {
    for (let q = 0; q < rank; q++) {
      for (let c = 0; c < channels; c++) {
        const factor = down.data[q * channels + c]!
        for (let k = 0; k < pixels; k++) {
          data[(p * channels + c) * pixels + k]! += core.data[(p * rank + q) * pixels + k]! * factor
        }
      }
    }
  }
  return { rows: rank, columns: channels * pixels, data }
}

/** Every number of `outer` times all of `inner`, whose columns are channels and pixels. */
function kronecker(outer: Matrix, inner: Matrix): Matrix {
  const [rows, columns] = [outer.rows * inner.rows, outer.columns * inner.columns]
  const data = new Float32Array(rows * columns)
  const block = inner.columns
  for (let i = 0; i < outer.rows; i++) {
    for (let j = 0; j < inner.rows; j++) {
      for (let x = 0; x < outer.columns; x++) {
        const factor = outer.data[i * outer.columns + x]!
        const [from, to] = [j * block, (i * inner.rows + j) * columns + x * block]
        for (let y = 0; y < block; y++) data[to + y] = factor * inner.data[from + y]!
      }
    }
  }
  return { rows, columns, data }
}
