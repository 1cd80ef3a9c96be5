import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Dtype, openSafetensors, toFloat32 } from '../../../src/diffusion/safetensors/safetensors.ts'

/**
 * The other forms in which the same checkpoint is downloaded, made from tiny-fp16.safetensors. Its numbers are
 * held exactly by float32, bfloat16 and float16, so that the picture is the same for all of them.
 */
export const parityDir = import.meta.dirname
export const tinyCheckpoint = join(parityDir, 'tiny-fp16.safetensors')

export interface Tensor {
  readonly dtype: Dtype
  readonly shape: readonly number[]
  readonly bytes: Uint8Array
}
export type Tensors = Map<string, Tensor>
export interface Content {
  readonly tensors: Tensors
  readonly metadata: Readonly<Record<string, string>>
}

/**
 * `ema`: with a second, other set of UNet weights, which diffusers ignores. `ema-only`: only that set, holding
 * the true weights. `bare`: as some trainers write it, without position ids, with the buffers of the noise
 * schedule. `mixed`: text encoder float32, UNet float16, VAE bfloat16. `v`: declares v prediction.
 * `inpainting`: 9 channels in. `vae`: another VAE alone, without prefix, in float32. `vae-diffusers`: the
 * like of it under diffusers' names.
 */
export const variants = {
  fp16: (content: Content): Content => content,
  fp32: (content: Content) => withDtype(content, () => 'F32'),
  bf16: (content: Content) => withDtype(content, () => 'BF16'),
  mixed: (content: Content) => withDtype(content, (key) => mixedDtype(key)),
  ema: (content: Content) => withEma(content),
  'ema-only': (content: Content) => emaOnly(content),
  bare: (content: Content) => bare(content),
  v: ({ tensors, metadata }: Content): Content => ({
    tensors,
    metadata: {
      ...metadata,
      'packshot.architecture': JSON.stringify({
        ...JSON.parse(metadata['packshot.architecture'] as string),
        prediction_type: 'v_prediction',
      }),
      'modelspec.prediction_type': 'v',
    },
  }),
  inpainting: (content: Content) => inpainting(content),
  vae: (content: Content) => otherVae(withoutPrefix(content)),
  'vae-diffusers': async ({ metadata }: Content): Promise<Content> => {
    const file = join(parityDir, '../tiny-sd/vae/diffusion_pytorch_model.safetensors')
    return otherVae({ tensors: (await readContent(file)).tensors, metadata })
  },
} as const
export type Variant = keyof typeof variants

/** Writes a variant into the folder, under its own name. @returns its path */
export async function writeVariant(folder: string, variant: Variant): Promise<string> {
  const file = join(folder, `tiny-${variant}.safetensors`)
  writeSafetensors(file, await variants[variant](await readContent(tinyCheckpoint)))
  return file
}

export async function readContent(path: string): Promise<Content> {
  const file = await openSafetensors(path)
  const all = readFileSync(path)
  const header = JSON.parse(all.toString('utf8', 8, 8 + Number(all.readBigUInt64LE(0))))
  const tensors: Tensors = new Map()
  for (const [key, { dtype, shape, offset, length }] of file.tensors) {
    tensors.set(key, { dtype, shape, bytes: all.subarray(offset, offset + length) })
  }
  return { tensors, metadata: header.__metadata__ ?? {} }
}

/** In the order of the map, without gaps, the header padded to 8 bytes as safetensors' own writer does. */
export function writeSafetensors(path: string, { tensors, metadata }: Content): void {
  let end = 0
  const entries = [...tensors].map(([key, { dtype, shape, bytes }]) => {
    const begin = end
    end += bytes.length
    return [key, { dtype, shape, data_offsets: [begin, end] }]
  })
  const json = Buffer.from(JSON.stringify({ __metadata__: metadata, ...Object.fromEntries(entries) }))
  const header = Buffer.concat([json, Buffer.alloc(-json.length & 7, ' ')])
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(header.length))
  writeFileSync(path, Buffer.concat([length, header, ...[...tensors.values()].map(({ bytes }) => bytes)]))
}

export function floatsOf({ bytes, dtype }: Tensor): Float32Array {
  return toFloat32(bytes, dtype)
}

export function tensorOf(values: Float32Array, shape: readonly number[], dtype: Dtype): Tensor {
  const words =
    dtype === 'F32'
      ? values
      : dtype === 'F16'
        ? Float16Array.from(values)
        : Uint16Array.from(new Uint32Array(values.slice().buffer), (bits) => bits >>> 16)
  return { dtype, shape, bytes: new Uint8Array(words.buffer) }
}

function isFloat({ dtype }: Tensor): boolean {
  return dtype === 'F16' || dtype === 'BF16' || dtype === 'F32'
}

function withDtype({ tensors, metadata }: Content, dtypeOf: (key: string) => Dtype): Content {
  const changed = [...tensors].map(([key, tensor]): [string, Tensor] => [
    key,
    isFloat(tensor) ? tensorOf(floatsOf(tensor), tensor.shape, dtypeOf(key)) : tensor,
  ])
  return { tensors: new Map(changed), metadata }
}

function mixedDtype(key: string): Dtype {
  if (key.startsWith('cond_stage_model.')) return 'F32'
  return key.startsWith('first_stage_model.') ? 'BF16' : 'F16'
}

/** LDM's exponential moving average: the UNet's names without their dots, and two numbers of its own. */
function emaName(key: string): string {
  return `model_ema.${key.replace('model.', '').replaceAll('.', '')}`
}

function emaNumbers(): [string, Tensor][] {
  return [
    ['model_ema.decay', tensorOf(Float32Array.of(0.9999), [], 'F32')],
    [
      'model_ema.num_updates',
      { dtype: 'I32', shape: [], bytes: new Uint8Array(new Int32Array([1000]).buffer) },
    ],
  ]
}

function withEma({ tensors, metadata }: Content): Content {
  const unet = [...tensors].filter(([key]) => key.startsWith('model.diffusion_model.'))
  const other = unet.map(([key, tensor]): [string, Tensor] => [
    emaName(key),
    tensorOf(
      floatsOf(tensor).map((value) => value / 2),
      tensor.shape,
      'F32',
    ),
  ])
  return { tensors: new Map([...tensors, ...other, ...emaNumbers()]), metadata }
}

function emaOnly({ tensors, metadata }: Content): Content {
  const renamed = [...tensors].map(([key, tensor]): [string, Tensor] => [
    key.startsWith('model.diffusion_model.') ? emaName(key) : key,
    tensor,
  ])
  return { tensors: new Map([...renamed, ...emaNumbers()]), metadata }
}

function bare({ tensors, metadata }: Content): Content {
  const kept = [...tensors].filter(([key]) => !key.endsWith('.position_ids'))
  const buffers = ['betas', 'alphas_cumprod', 'sqrt_alphas_cumprod', 'log_one_minus_alphas_cumprod'].map(
    (key): [string, Tensor] => [key, tensorOf(new Float32Array(1000), [1000], 'F32')],
  )
  return { tensors: new Map([...kept, ...buffers]), metadata }
}

/**
 * The weights of the five further channels (mask, masked picture) follow a rule that Python writes down in one
 * line as well: number i, counted through [out, 5, 3, 3], is ((i * 40503 + 12345) mod 255 - 127) / 1024.
 */
function inpainting({ tensors, metadata }: Content): Content {
  const key = 'model.diffusion_model.input_blocks.0.0.weight'
  const narrow = tensors.get(key) as Tensor
  const [out, channels] = narrow.shape as [number, number]
  const [values, size, further] = [floatsOf(narrow), channels * 9, 5 * 9]
  const wide = new Float32Array(out * (size + further))
  for (let row = 0; row < out; row++) {
    wide.set(values.subarray(row * size, (row + 1) * size), row * (size + further))
    for (let i = 0; i < further; i++) {
      const number = (((row * further + i) * 40503 + 12345) % 255) - 127
      wide[row * (size + further) + size + i] = number / 1024
    }
  }
  return {
    tensors: new Map(tensors).set(key, tensorOf(wide, [out, channels + 5, 3, 3], narrow.dtype)),
    metadata,
  }
}

function withoutPrefix({ tensors, metadata }: Content): Content {
  const prefix = 'first_stage_model.'
  const vae = [...tensors].flatMap(([key, tensor]): [string, Tensor][] =>
    key.startsWith(prefix) ? [[key.slice(prefix.length), tensor]] : [],
  )
  return { tensors: new Map(vae), metadata }
}

/** Halved where the picture comes in and goes out: the pictures are paler, the latents nearer to zero. */
function otherVae({ tensors, metadata }: Content): Content {
  const halved = ['encoder.conv_in.weight', 'decoder.conv_out.weight']
  const vae = [...tensors].map(([key, tensor]): [string, Tensor] => {
    const factor = halved.includes(key) ? 0.5 : 1
    const values = floatsOf(tensor).map((value) => value * factor)
    return [key, tensorOf(values, tensor.shape, 'F32')]
  })
  return { tensors: new Map(vae), metadata }
}
