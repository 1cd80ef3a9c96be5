import assert from 'node:assert/strict'
import { readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { besideFile } from '../../src/diffusion/checkpoint/beside.ts'
import { classify } from '../../src/diffusion/checkpoint/family.ts'
import { type Model, openModel } from '../../src/diffusion/checkpoint/model.ts'
import { openSingleFile } from '../../src/diffusion/checkpoint/single-file.ts'
import { openVaeFile } from '../../src/diffusion/checkpoint/vae-file.ts'
import { Weights } from '../../src/diffusion/checkpoint/weights.ts'
import { CheckpointError } from '../../src/diffusion/errors.ts'
import { clipTextGraph } from '../../src/diffusion/models/clip-text.ts'
import { unetGraph } from '../../src/diffusion/models/unet.ts'
import { vaeDecoderGraph, vaeEncoderGraph } from '../../src/diffusion/models/vae.ts'
import {
  openSafetensors,
  type SafetensorsFile,
  toFloat32,
} from '../../src/diffusion/safetensors/safetensors.ts'
import { tempFolder } from '../cleanup.ts'
import { relativeError } from './golden.ts'
import { paddedIds } from './padded-ids.ts'
import {
  readContent,
  type Tensor,
  tinyCheckpoint,
  type Variant,
  variants,
  writeSafetensors,
  writeVariant,
} from './parity/variants.ts'

/** A weight of Stable Diffusion 1.5: its part, its names in a single file and in diffusers, its shape in a single file. */
type Row = readonly [part: 'unet' | 'vae' | 'text', key: string, diffusers: string, shape: readonly number[]]

const { rows }: { rows: readonly Row[] } = JSON.parse(
  gunzipSync(readFileSync(join(import.meta.dirname, 'single-file-keys.json.gz'))).toString(),
)

/** What real files contain besides their weights. */
const besides: readonly (readonly [string, readonly number[]])[] = [
  ['cond_stage_model.transformer.text_model.embeddings.position_ids', [1, 77]],
  ...[
    'alphas_cumprod',
    'alphas_cumprod_prev',
    'betas',
    'log_one_minus_alphas_cumprod',
    'posterior_log_variance_clipped',
    'posterior_mean_coef1',
    'posterior_mean_coef2',
    'posterior_variance',
    'sqrt_alphas_cumprod',
    'sqrt_one_minus_alphas_cumprod',
    'sqrt_recip_alphas_cumprod',
    'sqrt_recipm1_alphas_cumprod',
  ].map((key) => [key, [1000]] as const),
  ['model_ema.decay', []],
  ['model_ema.num_updates', []],
]

/** A file of full size without content: the file system keeps no blocks for it. */
function emptyCheckpoint(t: TestContext, edit: (row: Row) => Row = (row) => row): string {
  const header: Record<string, object> = {}
  let end = 0
  const add = (key: string, shape: readonly number[]) => {
    const begin = end
    end += shape.reduce((product, dim) => product * dim, 2)
    header[key] = { dtype: 'F16', shape, data_offsets: [begin, end] }
  }
  for (const row of rows) add(edit(row)[1], edit(row)[3])
  for (const [key, shape] of besides) add(key, shape)
  const text = Buffer.from(JSON.stringify(header))
  const prefix = Buffer.alloc(8)
  prefix.writeBigUInt64LE(BigInt(text.length))
  const path = join(tempFolder(t), 'v1-5-pruned-emaonly.safetensors')
  writeFileSync(path, Buffer.concat([prefix, text]))
  truncateSync(path, 8 + text.length + end)
  return path
}

/** Every key and shape as the graphs want them. */
function writeGraphs({ architecture: { text, unet, vae }, ...files }: Model): void {
  clipTextGraph(text, new Weights(files.text), 1)
  unetGraph(unet, new Weights(files.unet), { batch: 2, height: 64, width: 64, tokens: 77 })
  vaeDecoderGraph(vae, new Weights(files.vae), 64, 64)
  vaeEncoderGraph(vae, new Weights(files.vae), 512, 512)
}

test('all 1130 keys of Stable Diffusion 1.5 find their place', async (t) => {
  const model = await openModel(emptyCheckpoint(t))
  assert.equal(rows.length, 1130)
  for (const part of ['text', 'unet', 'vae'] as const) {
    const expected = rows.filter((row) => row[0] === part).map(([, key, diffusers]) => [diffusers, key])
    const actual = [...model[part].tensors].map(([name, { key }]) => [name, key])
    assert.deepEqual(Object.fromEntries(actual), Object.fromEntries(expected))
    assert.equal(actual.length, expected.length)
  }
  writeGraphs(model)
  const { unet, vae, text, noise, sampleSize } = model.architecture
  assert.deepEqual(unet.block_out_channels, [320, 640, 1280, 1280])
  assert.deepEqual([unet.heads, unet.cross_attention_dim, unet.layers_per_block], [[8, 8, 8, 8], 768, 2])
  assert.equal(unet.down_block_types.join(), `${'CrossAttnDownBlock2D,'.repeat(3)}DownBlock2D`)
  assert.equal(unet.up_block_types.join(), `UpBlock2D${',CrossAttnUpBlock2D'.repeat(3)}`)
  assert.deepEqual([vae.block_out_channels, vae.layers_per_block], [[128, 256, 512, 512], 2])
  assert.deepEqual(
    [text.hidden_size, text.intermediate_size, text.num_hidden_layers, text.num_attention_heads],
    [768, 3072, 12, 12],
  )
  assert.deepEqual([noise.prediction_type, sampleSize, model.inpainting], ['epsilon', 64, false])
  assert.equal(model.name, 'v1-5-pruned-emaonly')
  // CLIP's own vocabulary: https://huggingface.co/openai/clip-vit-large-patch14
  const tokenizer = await model.tokenizer()
  assert.deepEqual(
    paddedIds(tokenizer, 'a photo of a cat', 8),
    [49406, 320, 1125, 539, 320, 2368, 49407, 49407],
  )
})

test('the full-size inpainting checkpoint, its text encoder named as old trainers did', async (t) => {
  const path = emptyCheckpoint(t, ([part, key, diffusers, shape]) => [
    part,
    key.replace('transformer.text_model.', 'transformer.'),
    diffusers,
    key === 'model.diffusion_model.input_blocks.0.0.weight' ? [320, 9, 3, 3] : shape,
  ])
  const model = await openModel(path)
  assert.equal(model.inpainting, true)
  assert.equal(model.architecture.unet.in_channels, 9)
  writeGraphs(model)
})

const folder = join(import.meta.dirname, 'tiny-sd')

for (const variant of Object.keys(variants) as Variant[]) {
  if (variant.startsWith('vae')) continue
  test(`each weight of the single file is the folder's of that name: ${variant}`, async (t) => {
    const [single, whole] = await Promise.all([
      writeVariant(tempFolder(t), variant).then((path) => openModel(path)),
      openModel(folder),
    ])
    assert.equal(single.inpainting, variant === 'inpainting')
    assert.equal(single.architecture.noise.prediction_type, variant === 'v' ? 'v_prediction' : 'epsilon')
    assert.deepEqual(
      { ...single.architecture, noise: 0, unet: { ...single.architecture.unet, in_channels: 4 } },
      { ...whole.architecture, noise: 0 },
    )
    for (const part of ['text', 'unet', 'vae'] as const) {
      const skipped = variant === 'inpainting' && part === 'unet' ? ['conv_in.weight'] : []
      await assertSameWeights(single[part], whole[part], skipped)
    }
    const prompt = 'a red apple, two boxes'
    const [ours, theirs] = await Promise.all([single.tokenizer(), whole.tokenizer()])
    assert.deepEqual(paddedIds(ours, prompt), paddedIds(theirs, prompt))
  })
}

for (const variant of ['fp16', 'ema-only'] as const) {
  test(`whichever key is missing, it is the one that is named: ${variant}`, async (t) => {
    const file = await openSafetensors(await writeVariant(tempFolder(t), variant))
    const needed = [...file.tensors.keys()].filter((key) => !/position_ids|decay|num_updates/.test(key))
    assert.equal(needed.length, 966)
    const beside = await besideFile(file.path, 'tiny')
    for (const key of needed) {
      const tensors = new Map(file.tensors)
      tensors.delete(key)
      const { kind, family } = classify(tensors)
      assert.deepEqual([kind, family], ['model', 'sd1'], key)
      assert.throws(
        () => openSingleFile({ ...file, tensors }, beside),
        (error: unknown) =>
          error instanceof CheckpointError && error.message.includes(`weight "${key}" is missing`),
        key,
      )
    }
  })
}

/** Makes the variants' VAE different from the checkpoint's. */
const halved = ['encoder.conv_in.weight', 'decoder.conv_out.weight']

test('a VAE of its own, in the original layout and in diffusers', async (t) => {
  const place = tempFolder(t)
  const model = await writeVariant(place, 'fp16')
  const own = await openModel(model)
  const original = await openModel(model, { vae: await writeVariant(place, 'vae') })
  assert.equal(original.vae.name, 'tiny-vae.safetensors')
  assert.equal(original.unet.name, 'tiny-fp16.safetensors')
  await assertSameWeights(original.vae, own.vae, halved)
  const diffusers = await openModel(model, { vae: await writeVariant(place, 'vae-diffusers') })
  await assertSameWeights(diffusers.vae, (await openModel(folder)).vae, halved)
  writeGraphs(original)
  writeGraphs(diffusers)
  // a folder's config has the number of groups, its weights alone do not
  const bare = join(folder, 'vae/diffusion_pytorch_model.safetensors')
  await assert.rejects(
    openModel(model, { vae: bare }),
    /16 channels cannot be divided into 32 groups of the VAE/,
  )
})

test('a VAE from before diffusers 0.18', async (t) => {
  const place = tempFolder(t)
  const { tensors, metadata } = await variants['vae-diffusers'](await readContent(tinyCheckpoint))
  const names = { to_q: 'query', to_k: 'key', to_v: 'value', 'to_out.0': 'proj_attn' }
  const old = [...tensors].map(([key, tensor]): [string, Tensor] => {
    const found = Object.entries(names).find(([name]) => key.includes(`attentions.0.${name}.`))
    return [found ? key.replace(...found) : key, tensor]
  })
  writeSafetensors(join(place, 'old.safetensors'), { tensors: new Map(old), metadata })
  const { file } = await openVaeFile(join(place, 'old.safetensors'))
  assert.equal(
    file.tensors.get('decoder.mid_block.attentions.0.to_out.0.bias')?.key,
    'decoder.mid_block.attentions.0.proj_attn.bias',
  )
  await assertSameWeights(file, (await openModel(folder)).vae, halved)
})

/** The file's numbers are the folder's, rounded to 8 bits: enough to tell every weight from every other. */
async function assertSameWeights(
  actual: SafetensorsFile,
  expected: SafetensorsFile,
  skipped: readonly string[],
): Promise<void> {
  const names = (file: SafetensorsFile) =>
    [...file.tensors.keys()].filter((name) => !name.endsWith('position_ids'))
  assert.deepEqual(names(actual).sort(), names(expected).sort())
  for (const name of names(expected)) {
    if (skipped.includes(name)) continue
    const [ours, theirs] = await Promise.all([floats(actual, name), floats(expected, name)])
    const error = relativeError(ours, theirs)
    assert.ok(error < 2 ** -8, `${name} differs by ${error}`)
  }
}

async function floats(file: SafetensorsFile, name: string): Promise<Float32Array> {
  const { offset, length, dtype } = file.tensors.get(name)!
  const handle = await open(file.path)
  try {
    const { buffer } = await handle.read(Buffer.alloc(length), 0, length, offset)
    return toFloat32(buffer, dtype)
  } finally {
    await handle.close()
  }
}
