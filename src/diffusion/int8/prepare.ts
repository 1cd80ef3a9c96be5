import { type FileHandle, open } from 'node:fs/promises'
import { CheckpointError } from '../errors.ts'
import { eightBitKeys } from '../graph/graph.ts'
import { keptCopy } from '../safetensors/kept-copy.ts'
import { readInto, type SafetensorsFile, type StoredTensor, toFloat32 } from '../safetensors/safetensors.ts'
import { doubledWeights } from './doubled.ts'
import { type EightBits, quantizeColumns } from './quantize.ts'
import { staysFloat } from './sensitive.ts'

/** Raised when the same checkpoint would give other bytes. */
const formatVersion = 3

/**
 * A layer whose weights lose more than this when they are rounded stays float32: single weights are far larger than all
 * others of their column. Rounding costs weights of a normal distribution 0.8 to 0.9 %.
 */
const mostWeightError = 0.03

export interface PrepareOptions {
  /** Receives what an operator should know of, in a sentence. */
  readonly onWarning?: ((message: string) => void) | undefined
  /** Every layer in eight bits and in float32 as well, to measure one against the other. */
  readonly toCompare?: boolean
}

/**
 * A part of a model with the weights of its layers in eight bits: a file in `folder`, written if it does not exist, with
 * all other numbers in float32 beside them. A damaged or unfinished file is written again.
 * @param part as it was downloaded
 * @throws CheckpointError naming a weight that is infinite or NaN; file system errors, for instance a full disk
 */
export async function inEightBits(
  part: SafetensorsFile,
  folder: string,
  { onWarning, toCompare = false }: PrepareOptions = {},
): Promise<SafetensorsFile> {
  const tensors = [...part.tensors].filter(([key]) => !isEncoder(key))
  const kind = { folder, suffix: 'int8', settings: [formatVersion, toCompare] }
  return keptCopy(part, tensors, kind, async (path) => {
    const kept = await write(part, tensors, path, toCompare)
    if (kept.length > 0) onWarning?.(warning(part, kept))
  })
}

/** Pictures go in as exactly as they come out of an exact model: the VAE's encoder runs once. */
function isEncoder(key: string): boolean {
  return key.startsWith('encoder.') || key.startsWith('quant_conv.')
}

/** The first layer of a feed-forward block, one half of which gates the other: stored as two matrices. */
function isGated(key: string): boolean {
  return key.endsWith('.ff.net.0.proj.weight')
}

/** A convolution behind an enlargement is stored a second time, see `doubled.ts`: other sizes than twice need it as it is. */
function isEnlarged(key: string): boolean {
  return /^up_blocks\.\d+\.upsamplers\.\d+\.conv\.weight$/.test(key)
}

/** The left and the right half of a matrix of rows, one behind the other. */
function halves(values: Int8Array, columns: number): Int8Array {
  const half = columns / 2
  const result = new Int8Array(values.length)
  for (let from = 0, to = 0; from < values.length; from += columns, to += half) {
    result.set(values.subarray(from, from + half), to)
    result.set(values.subarray(from + half, from + columns), values.length / 2 + to)
  }
  return result
}

function warning({ path }: SafetensorsFile, kept: readonly string[]): string {
  const more = kept.length > 3 ? ` and ${kept.length - 3} more` : ''
  return (
    `${path}: ${kept.slice(0, 3).join(', ')}${more} have single weights far larger than the others; ` +
    'these layers stay in float32.'
  )
}

/** [out, channels, pixels] of a layer that can be computed in eight bits. */
function layerShape(
  key: string,
  { shape }: StoredTensor,
): readonly [out: number, channels: number, pixels: number] | undefined {
  if (!key.endsWith('.weight')) return undefined
  const [out, channels, height = 1, width = 1] = shape as [number, number, number?, number?]
  const fits =
    (shape.length === 2 || shape.length === 4) && height === width && (height === 1 || height === 3)
  return fits ? [out, channels, height * width] : undefined
}

/** Writes one tensor after the other; which of them there are is known at the end. @returns layers that stay float32 */
async function write(
  part: SafetensorsFile,
  tensors: readonly (readonly [string, StoredTensor])[],
  target: string,
  toCompare: boolean,
): Promise<string[]> {
  const source = await open(part.path, 'r')
  const file = await open(target, 'w', 0o600)
  const header: Record<string, object> = {}
  const kept: string[] = []
  // the format allows spaces behind the header: so much is reserved for it
  const begin = headerRoom(tensors)
  let end = 0
  const add = async (
    key: string,
    dtype: 'F32' | 'I8',
    shape: readonly number[],
    data: Float32Array | Int8Array,
  ) => {
    header[key] = { dtype, shape, data_offsets: [end, end + data.byteLength] }
    await writeAll(file, data, begin + end)
    end += data.byteLength
  }
  try {
    for (const [key, tensor] of tensors) {
      const numbers = await readNumbers(source, part, tensor)
      const layer = !toCompare && staysFloat(key) ? undefined : layerShape(key, tensor)
      const bits = layer && quantizeColumns(numbers, layer)
      if (layer ? bits === undefined : !numbers.every(Number.isFinite)) throw notFinite(part, tensor)
      const rounds = bits !== undefined && bits.error <= mostWeightError
      if (bits !== undefined && !rounds) kept.push(key)
      if (!rounds || toCompare) await add(key, 'F32', tensor.shape, numbers)
      if (layer === undefined || bits === undefined || !rounds) continue
      const [out, channels, pixels] = layer
      const keys = eightBitKeys(key.slice(0, -'.weight'.length))
      if (tensor.shape.length === 4) {
        await add(keys.values, 'I8', [pixels, channels, out, 1], bits.values)
      } else if (isGated(key)) {
        await add(keys.values, 'I8', [2, channels, out / 2], halves(bits.values, out))
      } else await add(keys.values, 'I8', [channels, out], bits.values)
      await add(keys.scales, 'F32', [out], bits.scales)
      if (pixels !== 9 || !isEnlarged(key)) continue
      const each = [0, 1, 2, 3].map((pixel) => {
        return quantizeColumns(doubledWeights(numbers, pixel), [out, channels, 4]) as EightBits
      })
      const values = Buffer.concat(each.map(({ values }) => new Uint8Array(values.buffer)))
      await add(
        keys.doubled.values,
        'I8',
        [4, 4 * channels, out],
        new Int8Array(values.buffer, values.byteOffset, values.length),
      )
      await add(
        keys.doubled.scales,
        'F32',
        [4 * out],
        Float32Array.from(each.flatMap(({ scales }) => [...scales])),
      )
    }
    const text = Buffer.alloc(begin - 8, ' ')
    if (text.write(JSON.stringify(header)) >= text.length) throw new Error('the header outgrew its room')
    const prefix = Buffer.alloc(8)
    prefix.writeBigUInt64LE(BigInt(text.length))
    await file.write(Buffer.concat([prefix, text]), 0, begin, 0)
    await file.sync()
  } finally {
    await source.close()
    await file.close()
  }
  return kept
}

/** A multiple of 64. */
function headerRoom(tensors: readonly (readonly [string, StoredTensor])[]): number {
  const room = tensors.reduce((sum, [key]) => sum + 5 * (2 * key.length + 160), 1024)
  return Math.ceil(room / 64) * 64
}

async function readNumbers(source: FileHandle, { path }: SafetensorsFile, tensor: StoredTensor) {
  const bytes = await readInto(source, new Uint8Array(tensor.length), tensor.offset, path)
  return toFloat32(bytes, tensor.dtype)
}

async function writeAll(file: FileHandle, data: Float32Array | Int8Array, position: number): Promise<void> {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, position + done)
    done += bytesWritten
  }
}

function notFinite({ path }: SafetensorsFile, { key }: StoredTensor): CheckpointError {
  const reason =
    'its weights have infinite or NaN values: the file is damaged, or they overflowed when it was converted to half precision'
  return new CheckpointError(`${path}: weight "${key}": ${reason}`, { reason })
}
