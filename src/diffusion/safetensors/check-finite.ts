import { open } from 'node:fs/promises'
import { CheckpointError } from '../errors.ts'
import { type Dtype, elementBytes } from './header.ts'
import { isFloat, openSafetensors, readInto, type StoredTensor } from './safetensors.ts'

/**
 * Checks every number of a file: a single infinity or NaN turns every picture black. Reading a checkpoint takes
 * seconds, so this is done when it is added or verified, not when it is opened.
 * @param onBytes called repeatedly with the number of tensor bytes read so far, and their total
 * @throws CheckpointError naming the tensor and the index
 */
export async function checkFinite(
  path: string,
  onBytes?: (done: number, total: number) => void,
): Promise<void> {
  const file = await openSafetensors(path)
  const tensors = [...file.tensors.values()].filter(({ dtype }) => isFloat(dtype))
  const total = tensors.reduce((sum, { length }) => sum + length, 0)
  let done = 0
  // not a pooled buffer: its offset may not be aligned to 2 or 4 bytes
  const buffer = new Uint8Array(new ArrayBuffer(chunkBytes))
  const handle = await open(file.path, 'r')
  try {
    for (const tensor of tensors) {
      for (let at = 0; at < tensor.length; at += chunkBytes) {
        const wanted = Math.min(chunkBytes, tensor.length - at)
        const bytes = await readInto(handle, buffer.subarray(0, wanted), tensor.offset + at, path)
        const bad = firstNotFinite(bytes, tensor.dtype)
        if (bad !== undefined) throw notFinite(path, tensor, at / elementBytes(tensor.dtype) + bad)
        done += wanted
        onBytes?.(done, total)
      }
    }
  } finally {
    await handle.close()
  }
}

/** A multiple of every element size. */
const chunkBytes = 4 * 2 ** 20

function notFinite(path: string, { key }: StoredTensor, index: number): CheckpointError {
  return new CheckpointError(
    `${path}: weight "${key}" has an infinite or NaN value at index ${index}; the file is damaged, ` +
      'or its values overflowed when it was converted to half precision',
  )
}

/** A floating-point number whose exponent bits are all set is infinite or NaN. */
function firstNotFinite(bytes: Uint8Array, dtype: Dtype): number | undefined {
  const { buffer, byteOffset, length } = bytes
  if (dtype === 'F16' || dtype === 'BF16') {
    const mask = dtype === 'F16' ? 0x7c00 : 0x7f80
    return indexOfAllSet(new Uint16Array(buffer, byteOffset, length / 2), mask)
  }
  const words = new Uint32Array(buffer, byteOffset, length / 4)
  if (dtype === 'F32') return indexOfAllSet(words, 0x7f800000)
  // the upper half of a double, little-endian
  return indexOfAllSet(
    words.filter((_, i) => i % 2 === 1),
    0x7ff00000,
  )
}

function indexOfAllSet(words: Uint16Array | Uint32Array, mask: number): number | undefined {
  for (let i = 0; i < words.length; i++) if (((words[i] as number) & mask) === mask) return i
  return undefined
}
