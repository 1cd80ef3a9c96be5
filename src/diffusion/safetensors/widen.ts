import { createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { keptCopy } from './kept-copy.ts'
import { type SafetensorsFile, type StoredTensor, toFloat32 } from './safetensors.ts'

/**
 * There are no CPU kernels for half-precision weights: each session would widen them into its own memory. A part
 * written out once in float32 can instead be mapped by every session of every process.
 */

const chunkBytes = 8 * 2 ** 20

/**
 * The same part with float32 weights: the part itself if it has them, else a file in `folder` (written if it does not
 * exist; about twice the size of the half-precision one). Other dtypes are copied unchanged.
 * @throws CheckpointError; file system errors, for instance a full disk
 */
export async function widened(part: SafetensorsFile, folder: string): Promise<SafetensorsFile> {
  const tensors = [...part.tensors]
  if (tensors.every(([, { dtype }]) => !isHalf(dtype))) return part
  return keptCopy(part, tensors, { folder, suffix: 'float32' }, (path) => write(part, tensors, path))
}

function isHalf(dtype: StoredTensor['dtype']): boolean {
  return dtype === 'F16' || dtype === 'BF16'
}

async function write(
  part: SafetensorsFile,
  tensors: readonly (readonly [string, StoredTensor])[],
  target: string,
): Promise<void> {
  const header: Record<string, object> = {}
  let end = 0
  for (const [key, { dtype, shape, length }] of tensors) {
    const bytes = isHalf(dtype) ? length * 2 : length
    header[key] = { dtype: isHalf(dtype) ? 'F32' : dtype, shape, data_offsets: [end, end + bytes] }
    end += bytes
  }
  const text = Buffer.from(JSON.stringify(header))
  const prefix = Buffer.alloc(8)
  prefix.writeBigUInt64LE(BigInt(text.length))
  const file = await open(target, 'w', 0o600)
  try {
    await file.writev([prefix, text])
    for (const [, { dtype, offset, length }] of tensors) {
      if (length === 0) continue
      const range = { start: offset, end: offset + length - 1, highWaterMark: chunkBytes }
      let odd: Buffer = Buffer.alloc(0)
      for await (const chunk of createReadStream(part.path, range)) {
        const bytes: Buffer = odd.length === 0 ? chunk : Buffer.concat([odd, chunk])
        const whole = isHalf(dtype) ? bytes.length - (bytes.length % 2) : bytes.length
        odd = bytes.subarray(whole)
        const ready = bytes.subarray(0, whole)
        await file.writeFile(isHalf(dtype) ? new Uint8Array(toFloat32(ready, dtype).buffer) : ready)
      }
    }
    await file.sync()
  } finally {
    await file.close()
  }
}
