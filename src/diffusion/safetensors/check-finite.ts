import { open } from 'node:fs/promises'
import { CheckpointError } from '../errors.ts'
import { type Dtype, elementBytes } from './header.ts'
import { isFloat, openSafetensors, type StoredTensor } from './safetensors.ts'

/**
 * Reads every number of a file: one that is infinite or not a number turns every picture black. Reading a
 * checkpoint takes seconds, so this is for when it is added or verified, not for when it is opened.
 * @param onBytes called now and then with the tensors' bytes read so far, and all of them
 * @throws CheckpointError naming the tensor and the place
 */
export async function checkFinite(
  path: string,
  onBytes?: (done: number, total: number) => void,
): Promise<void> {
  const file = await openSafetensors(path)
  const tensors = [...file.tensors.values()].filter(({ dtype }) => isFloat(dtype))
  const total = tensors.reduce((sum, { length }) => sum + length, 0)
  let done = 0
  // a buffer of its own: the words of a pooled one may begin anywhere
  const buffer = new Uint8Array(new ArrayBuffer(chunkBytes))
  const handle = await open(file.path, 'r')
  try {
    for (const tensor of tensors) {
      for (let at = 0; at < tensor.length; at += chunkBytes) {
        const wanted = Math.min(chunkBytes, tensor.length - at)
        const { bytesRead } = await handle.read(buffer, 0, wanted, tensor.offset + at)
        if (bytesRead !== wanted)
          throw new CheckpointError(`${path}: the file became shorter while it was read`)
        const bad = firstNotFinite(buffer.subarray(0, wanted), tensor.dtype)
        if (bad !== undefined) throw notFinite(path, tensor, at / elementBytes(tensor.dtype) + bad)
        done += wanted
        onBytes?.(done, total)
      }
    }
  } finally {
    await handle.close()
  }
}

/** A multiple of every element's size. */
const chunkBytes = 4 * 2 ** 20

function notFinite(path: string, { key }: StoredTensor, index: number): CheckpointError {
  return new CheckpointError(
    `${path}: weight "${key}" has an infinite number or none (NaN) at index ${index}; the file is damaged, ` +
      'or was converted to half precision beyond its range',
  )
}

/** A floating-point number whose exponent has all bits set is infinite or NaN. */
function firstNotFinite(bytes: Uint8Array, dtype: Dtype): number | undefined {
  const { buffer, byteOffset, length } = bytes
  if (dtype === 'F16' || dtype === 'BF16') {
    const mask = dtype === 'F16' ? 0x7c00 : 0x7f80
    return indexOfAllSet(new Uint16Array(buffer, byteOffset, length / 2), mask)
  }
  const words = new Uint32Array(buffer, byteOffset, length / 4)
  if (dtype === 'F32') return indexOfAllSet(words, 0x7f800000)
  // the upper half of a double, little end first
  return indexOfAllSet(
    words.filter((_, i) => i % 2 === 1),
    0x7ff00000,
  )
}

function indexOfAllSet(words: Uint16Array | Uint32Array, mask: number): number | undefined {
  for (let i = 0; i < words.length; i++) if (((words[i] as number) & mask) === mask) return i
  return undefined
}
