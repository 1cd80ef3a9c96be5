import { type FileHandle, open, realpath } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { CheckpointError } from '../errors.ts'

/**
 * Reader of the safetensors format (https://github.com/huggingface/safetensors#format): eight bytes with the
 * length of the header, a JSON header, then the tensors' bytes. Nothing but the header is read here; tensors
 * are used where they lie.
 */

const bytesPerElement = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U8: 1,
  BOOL: 1,
} as const

export type Dtype = keyof typeof bytesPerElement

/** A tensor in a file. `offset` counts from the beginning of the file, `length` is in bytes. */
export interface StoredTensor {
  readonly key: string
  readonly dtype: Dtype
  readonly shape: readonly number[]
  readonly offset: number
  readonly length: number
}

export interface SafetensorsFile {
  /** The real path: symbolic links are resolved, as ONNX Runtime refuses those that leave a folder. */
  readonly path: string
  readonly folder: string
  readonly name: string
  readonly tensors: ReadonlyMap<string, StoredTensor>
}

/** The reference implementation's own limit on the header; a larger one is an attack or damage. */
const maxHeaderBytes = 100_000_000

/**
 * Reads and checks the header: every tensor's bytes lie inside the file, do not overlap, leave no gap, and are
 * as many as dtype and shape say.
 * @throws CheckpointError naming the file and the fault
 */
export async function openSafetensors(file: string): Promise<SafetensorsFile> {
  const path = await realpath(file).catch((cause: unknown) => {
    throw new CheckpointError(`${file}: the file is missing or not readable`, { cause })
  })
  const handle = await open(path, 'r').catch((cause: unknown) => {
    throw new CheckpointError(`${file}: the file cannot be opened`, { cause })
  })
  try {
    const tensors = await readHeader(handle, file)
    return { path, folder: dirname(path), name: basename(path), tensors }
  } finally {
    await handle.close()
  }
}

async function readHeader(handle: FileHandle, file: string): Promise<Map<string, StoredTensor>> {
  const { size } = await handle.stat()
  if (size < 8) throw new CheckpointError(`${file}: ${size} bytes are too few for a safetensors file`)
  const prefix = await readFully(handle, 8, 0, file)
  const headerBytes = Number(prefix.readBigUInt64LE(0))
  if (headerBytes > maxHeaderBytes) {
    throw new CheckpointError(`${file}: the header claims ${headerBytes} bytes, more than ${maxHeaderBytes}`)
  }
  if (8 + headerBytes > size) {
    throw new CheckpointError(`${file}: the header claims ${headerBytes} bytes, the file has ${size}`)
  }
  const header = parseHeader((await readFully(handle, headerBytes, 8, file)).toString('utf8'), file)
  const dataBegin = 8 + headerBytes
  const tensors = new Map<string, StoredTensor>()
  for (const [key, value] of Object.entries(header)) {
    if (key !== '__metadata__') tensors.set(key, parseTensor(key, value, dataBegin, file))
  }
  checkLayout([...tensors.values()], dataBegin, size, file)
  return tensors
}

async function readFully(
  handle: FileHandle,
  length: number,
  position: number,
  file: string,
): Promise<Buffer> {
  const buffer = Buffer.alloc(length)
  const { bytesRead } = await handle.read(buffer, 0, length, position)
  if (bytesRead !== length) throw new CheckpointError(`${file}: the file became shorter while it was read`)
  return buffer
}

function parseHeader(text: string, file: string): Record<string, unknown> {
  let header: unknown
  try {
    header = JSON.parse(text)
  } catch (cause) {
    throw new CheckpointError(`${file}: the header is not JSON`, { cause })
  }
  if (typeof header !== 'object' || header === null || Array.isArray(header)) {
    throw new CheckpointError(`${file}: the header is not a JSON object`)
  }
  return header as Record<string, unknown>
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

function parseTensor(key: string, value: unknown, dataBegin: number, file: string): StoredTensor {
  const fault = (what: string) => new CheckpointError(`${file}: tensor "${key}" ${what}`)
  if (typeof value !== 'object' || value === null) throw fault('has no description')
  const { dtype, shape, data_offsets: offsets } = value as Record<string, unknown>
  if (typeof dtype !== 'string' || !Object.hasOwn(bytesPerElement, dtype)) {
    throw fault(`has dtype ${JSON.stringify(dtype)}; known are ${Object.keys(bytesPerElement).join(', ')}`)
  }
  if (!Array.isArray(shape) || !shape.every(isCount)) throw fault(`has shape ${JSON.stringify(shape)}`)
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount)) {
    throw fault(`has data_offsets ${JSON.stringify(offsets)}`)
  }
  const [begin, end] = offsets as [number, number]
  const expected = shape.reduce((product, dim) => product * dim, bytesPerElement[dtype as Dtype])
  if (end - begin !== expected) {
    throw fault(`of ${dtype} [${shape.join(', ')}] needs ${expected} bytes, its offsets give ${end - begin}`)
  }
  return { key, dtype: dtype as Dtype, shape, offset: dataBegin + begin, length: expected }
}

function checkLayout(tensors: StoredTensor[], dataBegin: number, size: number, file: string): void {
  tensors.sort((a, b) => a.offset - b.offset || a.length - b.length)
  let end = dataBegin
  for (const tensor of tensors) {
    if (tensor.offset < end) throw new CheckpointError(`${file}: tensor "${tensor.key}" overlaps another one`)
    if (tensor.offset > end) {
      throw new CheckpointError(`${file}: ${tensor.offset - end} unused bytes before tensor "${tensor.key}"`)
    }
    end = tensor.offset + tensor.length
    if (end > size) {
      throw new CheckpointError(`${file}: tensor "${tensor.key}" ends at byte ${end}, the file has ${size}`)
    }
  }
  if (end !== size) throw new CheckpointError(`${file}: ${size - end} bytes belong to no tensor`)
}

/**
 * Reads rows of a matrix [rows, columns] as float32, for instance token embeddings.
 * @returns [indices.length, columns], row-major
 */
export async function readRows(
  file: SafetensorsFile,
  tensor: StoredTensor,
  indices: readonly number[],
): Promise<Float32Array> {
  const [rows, columns] = tensor.shape as [number, number]
  const rowBytes = columns * bytesPerElement[tensor.dtype]
  const out = new Float32Array(indices.length * columns)
  const read = new Map<number, Float32Array>()
  const handle = await open(file.path, 'r')
  try {
    for (const [position, index] of indices.entries()) {
      if (index < 0 || index >= rows) {
        throw new CheckpointError(
          `${file.path}: "${tensor.key}" has ${rows} rows, row ${index} was asked for`,
        )
      }
      const known = read.get(index)
      const row =
        known ??
        toFloat32(
          await readFully(handle, rowBytes, tensor.offset + index * rowBytes, file.path),
          tensor.dtype,
        )
      if (!known) read.set(index, row)
      out.set(row, position * columns)
    }
  } finally {
    await handle.close()
  }
  return out
}

/** Widens stored floats to float32. @throws CheckpointError for integer dtypes */
export function toFloat32(bytes: Uint8Array, dtype: Dtype): Float32Array {
  const aligned = Uint8Array.from(bytes).buffer
  if (dtype === 'F32') return new Float32Array(aligned)
  if (dtype === 'F16') return Float32Array.from(new Float16Array(aligned))
  if (dtype === 'F64') return Float32Array.from(new Float64Array(aligned))
  if (dtype === 'BF16') {
    // bfloat16 is the upper half of a float32
    return new Float32Array(Uint32Array.from(new Uint16Array(aligned), (bits) => bits << 16).buffer)
  }
  throw new CheckpointError(`weights of dtype ${dtype} are not floating-point numbers`)
}
