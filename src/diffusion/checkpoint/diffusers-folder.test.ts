import assert from 'node:assert/strict'
import { cp, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { tempFolder } from '../../../test/cleanup.ts'
import { openEngine } from '../engine.ts'
import { CheckpointError } from '../errors.ts'
import { describeModel, readFacts } from './facts.ts'

const tiny = join(import.meta.dirname, '../../../test/golden/tiny-sd')

/** Damages a copy of the tiny model and expects loading it to fail with a message. */
async function refused(
  t: TestContext,
  damage: (folder: string) => Promise<void>,
  message: RegExp,
): Promise<void> {
  const folder = join(tempFolder(t), 'model')
  await cp(tiny, folder, { recursive: true })
  await damage(folder)
  await assert.rejects(openEngine({ model: folder, provider: 'cpu' }), (error: unknown) => {
    assert.ok(error instanceof CheckpointError, String(error))
    assert.match(error.message, message)
    return true
  })
}

async function edit(file: string, from: RegExp, to: string): Promise<void> {
  const text = await readFile(file, 'utf8')
  assert.match(text, from)
  await writeFile(file, text.replace(from, to))
}

const unetWeights = 'unet/diffusion_pytorch_model.safetensors'

test('a missing weights file', (t) =>
  refused(
    t,
    (folder) => rm(join(folder, unetWeights)),
    /unet\/diffusion_pytorch_model\.safetensors: the file is missing/,
  ))

test('a pickle in its place', (t) =>
  refused(
    t,
    (folder) => rename(join(folder, unetWeights), join(folder, 'unet/diffusion_pytorch_model.bin')),
    /diffusion_pytorch_model\.bin: this is a pickle: it can run code/,
  ))

test('a truncated weights file', (t) =>
  refused(t, (folder) => truncate(join(folder, unetWeights), 5000), /the file has 5000/))

test('a missing folder', (t) =>
  refused(t, (folder) => rm(folder, { recursive: true }), /no such file or folder/))

test('a config that is not JSON', (t) =>
  refused(
    t,
    (folder) => writeFile(join(folder, 'vae/config.json'), '{'),
    /vae\/config\.json: the file is not JSON/,
  ))

test('a config of another architecture', (t) =>
  refused(
    t,
    (folder) => edit(join(folder, 'model_index.json'), /"StableDiffusionPipeline"/, '"FluxPipeline"'),
    /"_class_name" is "FluxPipeline"; it must be one of StableDiffusionPipeline/,
  ))

test('a config that lies about the weights', (t) =>
  refused(
    t,
    (folder) => edit(join(folder, 'unet/config.json'), /"layers_per_block": 2/, '"layers_per_block": 1'),
    /weight "up_blocks\.\d\.resnets\.\d\.norm1\.weight" has shape|has no place for/,
  ))

test('a folder of SD 2', (t) =>
  refused(
    t,
    (folder) =>
      edit(join(folder, 'unet/config.json'), /"cross_attention_dim": 32/, '"cross_attention_dim": 1024'),
    /this is Stable Diffusion 2\.x, which cannot be used; only Stable Diffusion 1\.x is supported/,
  ))

test('parts of different models', (t) =>
  refused(
    t,
    (folder) =>
      edit(join(folder, 'unet/config.json'), /"cross_attention_dim": 32/, '"cross_attention_dim": 24'),
    /text states of width 24, but the text encoder outputs 32/,
  ))

test('a pipeline class for pictures or masks is the same model', async (t) => {
  const folder = join(tempFolder(t), 'model')
  await cp(tiny, folder, { recursive: true })
  for (const name of ['StableDiffusionImg2ImgPipeline', 'StableDiffusionInpaintPipeline']) {
    await edit(join(folder, 'model_index.json'), /"StableDiffusion\w*Pipeline"/, `"${name}"`)
    assert.equal((await describeModel(folder)).family, 'sd1')
  }
})

test('an option that the engine does not have', (t) =>
  refused(
    t,
    (folder) =>
      edit(
        join(folder, 'unet/config.json'),
        /"flip_sin_to_cos": true/,
        '"flip_sin_to_cos": true, "dual_cross_attention": true',
      ),
    /"dual_cross_attention": true is not supported/,
  ))

const refusedSettings: Record<string, [string, string, RegExp]> = {
  'a UNet without a middle block': [
    'unet',
    '"mid_block_type": null',
    /"mid_block_type": null is not supported/,
  ],
  'classes besides the text': ['unet', '"class_embed_type": "timestep"', /"class_embed_type": "timestep"/],
  'linear projections': ['unet', '"use_linear_projection": true', /"use_linear_projection": true/],
  'a larger first kernel': ['unet', '"conv_in_kernel": 5', /"conv_in_kernel": 5/],
  'no groups': ['unet', '"norm_num_groups": null', /"norm_num_groups" is null/],
  'a condition on the guidance': ['unet', '"time_cond_proj_dim": 256', /"time_cond_proj_dim": 256/],
  'two transformers per block': [
    'unet',
    '"transformer_layers_per_block": [1, 2]',
    /"transformer_layers_per_block": \[1,2\]/,
  ],
  'a VAE without its last projection': ['vae', '"use_quant_conv": false', /"use_quant_conv": false/],
  'a VAE for previews': ['vae', '"_class_name": "AutoencoderTiny"', /its VAE is a TAESD/],
  'another text encoder': ['text_encoder', '"model_type": "t5"', /"model_type": "t5"/],
}
for (const [what, [part, setting, message]] of Object.entries(refusedSettings)) {
  test(`a setting that changes the picture is refused by name: ${what}`, (t) =>
    refused(t, (folder) => set(join(folder, part, 'config.json'), setting), message))
}

/** Sets one field of a config. */
async function set(file: string, setting: string): Promise<void> {
  const fields: object = JSON.parse(await readFile(file, 'utf8'))
  await writeFile(file, JSON.stringify({ ...fields, ...JSON.parse(`{${setting}}`) }))
}

test('settings that change nothing are passed over, unknown ones with a remark', async (t) => {
  const folder = join(tempFolder(t), 'model')
  await cp(tiny, folder, { recursive: true })
  const { remarks: before } = await readFacts(folder)
  assert.deepEqual(before, [])
  const config = join(folder, 'unet/config.json')
  await set(
    config,
    '"upcast_attention": true, "transformer_layers_per_block": [1, 1], "layers_per_block": [2, 2]',
  )
  await set(config, '"only_cross_attention": [false, false], "brand_new": {"a": 1}, "newer": null')
  const { model, remarks } = await readFacts(folder)
  assert.ok(!(model instanceof Error), String(model))
  assert.deepEqual(remarks, [`${config}: the setting "brand_new" is not known, and is passed over`])
})

test('a config of more than a megabyte is not read', (t) =>
  refused(
    t,
    (folder) => writeFile(join(folder, 'unet/config.json'), `{"a": "${'x'.repeat(1e6)}"}`),
    /has 1000009 bytes, at most 1000000 are read/,
  ))

test('a vocabulary without the special tokens', (t) =>
  refused(
    t,
    async (folder) => {
      await rm(join(folder, 'tokenizer/tokenizer.json'))
      await writeFile(join(folder, 'tokenizer/vocab.json'), '{"a": 0}')
      await writeFile(join(folder, 'tokenizer/merges.txt'), '#version: 0.2\n')
    },
    /no token <\|startoftext\|>/,
  ))

test('a model is described by its configs and headers', async () => {
  assert.deepEqual(await describeModel(tiny), {
    family: 'sd1',
    inpainting: false,
    needsVae: false,
    sizes: { channels: 4, scale: 8, contextWidth: 32, textWidth: 32 },
    imageToImage: true,
    clipLayers: 2,
    width: 128,
    height: 128,
    steps: 20,
    guidanceScale: 7.5,
    sizeMultiple: 8,
    about: {},
  })
})
