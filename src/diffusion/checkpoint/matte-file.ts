import { open } from 'node:fs/promises'
import { refused } from '../errors.ts'
import { conventionOf } from '../matte/convention.ts'
import { readOnnx } from '../matte/onnx-file.ts'
import type { CheckpointFacts } from './facts.ts'

/** Whether a file is read as ONNX: by its name, or by its first bytes, as a download has no name of its own yet. */
export async function isOnnx(path: string): Promise<boolean> {
  if (/\.onnx$/i.test(path)) return true
  const handle = await open(path, 'r').catch(() => undefined)
  if (handle === undefined) return false
  try {
    if (!(await handle.stat()).isFile()) return false
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(8), 0, 8, 0)
    // field 1, the version of the format; a safetensors file has a length of eight bytes there
    return (
      bytesRead === 8 && buffer[0] === 8 && buffer[1]! > 0 && buffer[1]! < 32 && buffer.readUInt32LE(4) !== 0
    )
  } finally {
    await handle.close()
  }
}

/**
 * @throws CheckpointError if it is no complete ONNX file, or refers to other files
 */
export function matteFacts(path: string): CheckpointFacts {
  const onnx = readOnnx(path)
  const convention = conventionOf(onnx)
  const fault = typeof convention === 'string' ? convention : undefined
  const description =
    typeof convention === 'string'
      ? `an ONNX file that is no matting network: ${convention}; of any other model download the .safetensors file`
      : `a matting network (${convention.family})`
  return {
    kind: fault === undefined ? 'matte' : 'other',
    family: 'any',
    description,
    dtype: 'F32',
    tensors: onnx.tensors,
    parameters: onnx.parameters,
    model: refused(path, `this is ${description}`),
    addOn: undefined,
    remarks: [],
  }
}
