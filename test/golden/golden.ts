import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { PictureRequest as EngineRequest } from '../../src/diffusion/request.ts'
import { openSafetensors, toFloat32 } from '../../src/diffusion/safetensors/safetensors.ts'

/** The numbers that test/golden/make_golden.py wrote; README.md beside it says what each one is. */
export interface Golden<Meta> {
  floats(name: string): Float32Array
  integers(name: string): Int32Array
  bytes(name: string): Uint8Array
  readonly meta: Meta
}

export interface PictureRequest {
  readonly prompt: string
  readonly negative: string
  readonly seed: number
  readonly steps: number
  readonly guidance: number
  readonly width: number
  readonly height: number
  readonly prediction_type: string | null
}

/** golden.json: the description of golden.safetensors. */
export interface TinyMeta {
  readonly prompts: readonly { name: string; prompt: string }[]
  readonly text_embeddings_rows: readonly string[]
  readonly pictures: Readonly<Record<string, { readonly request: PictureRequest }>>
}

/** What `make_golden.py picture` writes about its picture. */
export interface PictureMeta {
  readonly weights_sha256: Readonly<Record<string, string>>
  readonly picture: { readonly request: PictureRequest }
}

export async function loadGolden<Meta>(name: string): Promise<Golden<Meta>> {
  const file = await openSafetensors(join(import.meta.dirname, `${name}.safetensors`))
  const all = readFileSync(file.path)
  const find = (key: string) => {
    const tensor = file.tensors.get(key)
    if (!tensor) throw new Error(`${file.name} has no ${key}`)
    return { ...tensor, bytes: Uint8Array.from(all.subarray(tensor.offset, tensor.offset + tensor.length)) }
  }
  return {
    floats: (key) => toFloat32(find(key).bytes, find(key).dtype),
    integers: (key) => new Int32Array(find(key).bytes.buffer),
    bytes: (key) => find(key).bytes,
    meta: JSON.parse(readFileSync(join(import.meta.dirname, `${name}.json`), 'utf8')),
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

/** diffusers' settings of a golden picture as a request to our engine. */
export function engineRequestOf(request: PictureRequest): EngineRequest {
  const { prompt, negative, width, height, steps, guidance, seed } = request
  const solver = { sampler: 'dpmpp_2m', schedule: 'karras' } as const
  return { prompt, negativePrompt: negative, width, height, steps, guidanceScale: guidance, seed, ...solver }
}

/** The largest difference of a channel, of 255. */
export function pixelDifference(actual: Uint8Array, expected: Uint8Array): number {
  if (actual.length !== expected.length)
    throw new Error(`${actual.length} bytes instead of ${expected.length}`)
  return actual.reduce((worst, value, i) => Math.max(worst, Math.abs(value - expected[i]!)), 0)
}
