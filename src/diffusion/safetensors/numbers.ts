import { type FileHandle, open } from 'node:fs/promises'
import { parse } from 'node:path'
import { CheckpointError } from '../errors.ts'
import type { Dtype } from './header.ts'
import { readInto, type SafetensorsFile, type StoredTensor, toFloat32 } from './safetensors.ts'

/** Whole tensors of a file as float32, whatever numbers it holds: LoRAs have integer alphas and 8-bit matrices. */
export class NumberReader {
  readonly #file: SafetensorsFile
  readonly #handle: FileHandle

  private constructor(file: SafetensorsFile, handle: FileHandle) {
    this.#file = file
    this.#handle = handle
  }

  /** Opens the file for the time of `use`. */
  static async with<T>(file: SafetensorsFile, use: (reader: NumberReader) => Promise<T>): Promise<T> {
    const handle = await open(file.path, 'r')
    try {
      return await use(new NumberReader(file, handle))
    } finally {
      await handle.close()
    }
  }

  /** Row-major. @throws CheckpointError if a number is infinite or NaN, or the dtype has none */
  async read(tensor: StoredTensor): Promise<Float32Array> {
    const room = new Uint8Array(tensor.length)
    const bytes = await readInto(this.#handle, room, tensor.offset, this.#file.path)
    const numbers = toNumbers(bytes, tensor.dtype)
    if (numbers === undefined) throw this.#fault(`"${tensor.key}" has dtype ${tensor.dtype}`)
    for (let i = 0; i < numbers.length; i++) {
      if (!Number.isFinite(numbers[i])) throw this.#fault(`"${tensor.key}" contains infinite or NaN values`)
    }
    return numbers
  }

  #fault(what: string): CheckpointError {
    const { path, name } = this.#file
    const reason =
      'the file has numbers that cannot be used: it is damaged, or its values overflowed when they were converted ' +
      'to half precision'
    const subject = `The LoRA ${parse(name).name}`
    return new CheckpointError(`${path}: ${reason}`, { reason, subject, cause: new Error(what) })
  }
}

/** Undefined for a dtype that has no numbers, such as F8_E8M0, which only scales others. */
function toNumbers(bytes: Uint8Array<ArrayBuffer>, dtype: Dtype): Float32Array | undefined {
  const { buffer } = bytes
  switch (dtype) {
    case 'F64':
    case 'F32':
    case 'F16':
    case 'BF16':
      return toFloat32(bytes, dtype)
    case 'F8_E4M3':
      return eightBits(bytes, 3, 7)
    case 'F8_E5M2':
      return eightBits(bytes, 2, 15)
    case 'I64':
      return Float32Array.from(new BigInt64Array(buffer), Number)
    case 'U64':
      return Float32Array.from(new BigUint64Array(buffer), Number)
    case 'I32':
      return Float32Array.from(new Int32Array(buffer))
    case 'U32':
      return Float32Array.from(new Uint32Array(buffer))
    case 'I16':
      return Float32Array.from(new Int16Array(buffer))
    case 'U16':
      return Float32Array.from(new Uint16Array(buffer))
    case 'I8':
      return Float32Array.from(new Int8Array(buffer))
    case 'U8':
    case 'BOOL':
      return Float32Array.from(bytes)
    default:
      return undefined
  }
}

/** https://arxiv.org/abs/2209.05433: E5M2 has infinities as IEEE 754 has, E4M3 has one NaN of each sign and none. */
function eightBits(bytes: Uint8Array, mantissaBits: 2 | 3, bias: number): Float32Array {
  const table = Float32Array.from({ length: 256 }, (_, bits) => {
    const sign = bits & 0x80 ? -1 : 1
    const exponent = (bits & 0x7f) >> mantissaBits
    const mantissa = bits & ((1 << mantissaBits) - 1)
    if (mantissaBits === 3 ? (bits & 0x7f) === 0x7f : exponent === 31) {
      return mantissa === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN
    }
    const fraction = mantissa / (1 << mantissaBits)
    return sign * (exponent === 0 ? fraction * 2 ** (1 - bias) : (1 + fraction) * 2 ** (exponent - bias))
  })
  const numbers = new Float32Array(bytes.length)
  for (let i = 0; i < bytes.length; i++) numbers[i] = table[bytes[i]!]!
  return numbers
}
