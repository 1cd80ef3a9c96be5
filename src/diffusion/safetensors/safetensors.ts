import { closeSync, openSync, readSync } from 'node:fs'
import { type FileHandle, open, realpath, stat } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { CheckpointError, refused } from '../errors.ts'
import { type FileStamp, stampOf } from '../file-stamp.ts'
import { foreignContent } from './foreign-file.ts'
import { type Dtype, elementBytes, type Header, parseHeader, type StoredTensor } from './header.ts'

/**
 * Reader of the safetensors format (https://github.com/huggingface/safetensors#format): eight bytes with the
 * length of the header, a JSON header, then the tensors' bytes. Opening a file reads the header only; tensors
 * are used in place.
 */

export type { Dtype, StoredTensor } from './header.ts'

/**
 * A file of tensors, or a view of one: a part of a model, its tensors under diffusers' names (`StoredTensor.key` is
 * still the name in the file).
 */
export interface SafetensorsFile {
  /** The real path: symbolic links are resolved, because ONNX Runtime refuses those that leave the folder. */
  readonly path: string
  readonly folder: string
  readonly name: string
  readonly tensors: ReadonlyMap<string, StoredTensor>
  /** The header's `__metadata__`. */
  readonly metadata: ReadonlyMap<string, string>
  /** The state of the file when it was opened, see `assertUnchanged`. */
  readonly stamp: FileStamp
}

/**
 * Ten times what the largest known files need, training notes included. The format allows 100 MB, but a server reads the
 * headers of files from strangers, and parsing one of 10 MB keeps it busy for a few tenths of a second.
 */
const maxHeaderBytes = 10_000_000

/** Enough of a file of another format to recognise it, and to quote what a site answered. */
const foreignBytes = 512

/**
 * Reads and checks the header: every tensor's bytes are inside the file, do not overlap, leave no gap, and match
 * its dtype and shape in number.
 * @throws CheckpointError naming the file and the fault
 */
export async function openSafetensors(file: string): Promise<SafetensorsFile> {
  const path = await realpath(file).catch((cause: unknown) => {
    throw new CheckpointError(`${file}: the file is missing or not readable`, { cause })
  })
  // before opening: opening a named pipe waits for a writer
  if (!(await stat(path)).isFile()) throw new CheckpointError(`${file}: this is not a file`)
  const handle = await open(path, 'r').catch((cause: unknown) => {
    throw new CheckpointError(`${file}: the file cannot be opened`, { cause })
  })
  try {
    const stats = await handle.stat({ bigint: true })
    const header = await readHeader(handle, Number(stats.size), file)
    return { path, folder: dirname(path), name: basename(path), ...header, stamp: stampOf(stats) }
  } finally {
    await handle.close()
  }
}

async function readHeader(handle: FileHandle, size: number, file: string): Promise<Header> {
  if (size === 0) {
    const reason = 'the file is empty; the download or copy may not have finished'
    throw refused(file, reason)
  }
  const start = await readInto(handle, Buffer.alloc(Math.min(size, foreignBytes)), 0, file)
  const headerBytes = size < 8 ? Number.POSITIVE_INFINITY : Number(start.readBigUInt64LE(0))
  if (headerBytes > Math.min(maxHeaderBytes, size - 8)) {
    const reason = foreignContent(start)
    if (reason) throw refused(file, reason)
    if (size < 8) throw new CheckpointError(`${file}: ${size} bytes are too few for a safetensors file`)
    const room = headerBytes > maxHeaderBytes ? `the limit is ${maxHeaderBytes}` : `the file has ${size}`
    throw new CheckpointError(`${file}: the header claims ${headerBytes} bytes, but ${room}`, {
      ...(headerBytes <= maxHeaderBytes && { reason: incomplete }),
    })
  }
  return parseHeader(await readInto(handle, Buffer.alloc(headerBytes), 8, file), 8 + headerBytes, size, file)
}

const incomplete = 'the file is incomplete; the download or copy may not have finished'

/** Fills `bytes` from a place in the file, and returns them. @throws CheckpointError if the file ends before */
export async function readInto<Bytes extends Uint8Array>(
  handle: FileHandle,
  bytes: Bytes,
  position: number,
  path: string,
): Promise<Bytes> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesRead } = await handle.read(bytes, done, bytes.length - done, position + done)
    if (bytesRead === 0) throw becameShorter(path)
    done += bytesRead
  }
  return bytes
}

function becameShorter(path: string): CheckpointError {
  return new CheckpointError(`${path}: the file became shorter while it was being read`)
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
  const rowBytes = columns * elementBytes(tensor.dtype)
  const out = new Float32Array(indices.length * columns)
  const read = new Map<number, Float32Array>()
  const handle = await open(file.path, 'r')
  try {
    for (const [position, index] of indices.entries()) {
      if (index < 0 || index >= rows) {
        throw new CheckpointError(
          `${file.path}: "${tensor.key}" has ${rows} rows, but row ${index} was requested`,
        )
      }
      const known = read.get(index)
      const row =
        known ??
        toFloat32(
          await readInto(handle, Buffer.alloc(rowBytes), tensor.offset + index * rowBytes, file.path),
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

const smallTensors = new WeakMap<SafetensorsFile, Map<string, Float32Array>>()

/**
 * The numbers of a small tensor as float32, at once: it is read from the disk the first time, and kept as long as the file is
 * in use. Whoever uses them looks at the file's stamp (`assertUnchanged`).
 * @throws CheckpointError
 */
export function smallTensor(file: SafetensorsFile, tensor: StoredTensor): Float32Array {
  const known = smallTensors.get(file) ?? new Map<string, Float32Array>()
  smallTensors.set(file, known)
  const numbers = known.get(tensor.key) ?? toFloat32(readAtOnce(file.path, tensor), tensor.dtype)
  known.set(tensor.key, numbers)
  return numbers
}

function readAtOnce(path: string, { offset, length }: StoredTensor): Buffer {
  const bytes = Buffer.alloc(length)
  let descriptor: number | undefined
  try {
    descriptor = openSync(path, 'r')
    if (readSync(descriptor, bytes, 0, length, offset) === length) return bytes
  } catch (cause) {
    throw new CheckpointError(`${path}: the file is missing or not readable`, { cause })
  } finally {
    if (descriptor !== undefined) closeSync(descriptor)
  }
  throw becameShorter(path)
}

/** Whether the engine can compute with this dtype. */
export function isFloat(dtype: Dtype): boolean {
  return dtype === 'F32' || dtype === 'F16' || dtype === 'BF16' || dtype === 'F64'
}

/** Widens stored floats to float32. @throws CheckpointError for integer dtypes */
export function toFloat32(bytes: Uint8Array, dtype: Dtype): Float32Array {
  const aligned = Uint8Array.from(bytes).buffer
  if (dtype === 'F32') return new Float32Array(aligned)
  if (dtype === 'F16') return Float32Array.from(new Float16Array(aligned))
  if (dtype === 'F64') return Float32Array.from(new Float64Array(aligned))
  if (dtype === 'BF16') {
    // bfloat16 is the upper half of a float32
    const halves = new Uint16Array(aligned)
    const whole = new Uint32Array(halves.length)
    for (let i = 0; i < halves.length; i++) whole[i] = halves[i]! << 16
    return new Float32Array(whole.buffer)
  }
  throw new CheckpointError(`weights of dtype ${dtype} are not supported; F32, F16, BF16 and F64 are`)
}
