import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { openSafetensors, toFloat32 } from '../../src/diffusion/checkpoint/safetensors.ts'

/** The numbers that test/golden/make_golden.py wrote; README.md beside it says what each one is. */
export interface Golden {
  floats(name: string): Float32Array
  integers(name: string): Int32Array
  bytes(name: string): Uint8Array
  readonly meta: GoldenMeta
}

interface GoldenMeta {
  readonly prompts: readonly { name: string; prompt: string }[]
  readonly text_embeddings_rows: readonly string[]
  readonly pictures: Record<
    string,
    {
      request: {
        prompt: string
        negative: string
        seed: number
        steps: number
        guidance: number
        width: number
        height: number
        prediction_type: string | null
      }
    }
  >
}

export async function loadGolden(): Promise<Golden> {
  const file = await openSafetensors(join(import.meta.dirname, 'golden.safetensors'))
  const all = readFileSync(file.path)
  const find = (name: string) => {
    const tensor = file.tensors.get(name)
    if (!tensor) throw new Error(`golden.safetensors has no ${name}`)
    return { ...tensor, bytes: Uint8Array.from(all.subarray(tensor.offset, tensor.offset + tensor.length)) }
  }
  return {
    floats: (name) => toFloat32(find(name).bytes, find(name).dtype),
    integers: (name) => new Int32Array(find(name).bytes.buffer),
    bytes: (name) => find(name).bytes,
    meta: JSON.parse(readFileSync(join(import.meta.dirname, 'golden.json'), 'utf8')),
  }
}

/** The largest difference, relative to the largest expected value. */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) {
    throw new Error(`${actual.length} numbers where ${expected.length} were expected`)
  }
  let [difference, largest] = [0, 0]
  for (let i = 0; i < expected.length; i++) {
    const apart = Math.abs((actual[i] as number) - (expected[i] as number))
    // written so that NaN counts as a difference
    if (!(apart <= difference)) difference = apart
    largest = Math.max(largest, Math.abs(expected[i] as number))
  }
  return difference / largest
}
