import assert from 'node:assert/strict'
import { mkdir, rename, symlink, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { tempFolder } from '../../../test/cleanup.ts'
import {
  type Content,
  readContent,
  type Tensor,
  type Tensors,
  tensorOf,
  tinyCheckpoint,
  writeSafetensors,
  writeVariant,
} from '../../../test/golden/parity/variants.ts'
import { CheckpointError } from '../errors.ts'
import { unetGraph } from '../models/unet.ts'
import { describeModel, readFacts } from './facts.ts'
import { assertUnchanged, openModel } from './model.ts'
import { Weights } from './weights.ts'

const tinyFolder = join(import.meta.dirname, '../../../test/golden/tiny-sd')
const number = tensorOf(Float32Array.of(1), [1], 'F32')

async function refused(action: Promise<unknown>, message: RegExp, path = ''): Promise<void> {
  await assert.rejects(action, (error: unknown) => {
    assert.ok(error instanceof CheckpointError, String(error))
    assert.match(error.message, message)
    assert.ok(error.message.startsWith(path), `${error.message} names ${path}`)
    return true
  })
}

/** The tiny single file with a change. @returns its path */
async function changed(
  t: TestContext,
  change: (tensors: Tensors, content: Content) => Tensors | undefined,
  metadata?: Readonly<Record<string, string>>,
): Promise<string> {
  const content = await readContent(tinyCheckpoint)
  const tensors = change(content.tensors, content) ?? content.tensors
  const path = join(tempFolder(t), 'changed.safetensors')
  writeSafetensors(path, { tensors, metadata: { ...content.metadata, ...metadata } })
  return path
}

const conv = 'model.diffusion_model.input_blocks.4.0.in_layers.2.weight'
const inner = 'model.diffusion_model.middle_block.0.out_layers.3.bias'
const norm = 'first_stage_model.decoder.mid.attn_1.norm.weight'

const damages: Readonly<Record<string, [(tensors: Tensors) => void, RegExp]>> = {
  'a missing weight': [
    (tensors) => tensors.delete(inner),
    /weight "model\.diffusion_model\.middle_block\.0\.out_layers\.3\.bias" is missing$/,
  ],
  'a missing weight that tells the architecture': [
    (tensors) => tensors.delete(conv),
    /weight "model\.diffusion_model\.input_blocks\.4\.0\.in_layers\.2\.weight" is missing/,
  ],
  'two missing weights of the VAE': [
    (tensors) => {
      tensors.delete(norm)
      tensors.delete('first_stage_model.decoder.mid.attn_1.q.bias')
    },
    /"first_stage_model\.decoder\.mid\.attn_1\.norm\.weight" is missing \(and 1 more\)/,
  ],
  'a left-over weight': [
    (tensors) => tensors.set('model.diffusion_model.extra.weight', number),
    /no place for model\.diffusion_model\.extra\.weight$/,
  ],
  'left-over weights beside the model': [
    (tensors) => {
      for (const name of ['a', 'b', 'c', 'd']) tensors.set(`model.${name}`, number)
    },
    /no place for model\.a, model\.b, model\.c and 1 more/,
  ],
  'a weight under two names': [
    (tensors) => {
      const old = 'cond_stage_model.transformer.final_layer_norm.bias'
      tensors.set(old, tensors.get(old.replace('transformer.', 'transformer.text_model.')) as Tensor)
    },
    /no place for cond_stage_model\.transformer\.final_layer_norm\.bias/,
  ],
  'weights of whole numbers': [
    (tensors) => {
      const { shape, bytes } = tensors.get(inner) as Tensor
      tensors.set(inner, { dtype: 'I16', shape, bytes })
    },
    /out_layers\.3\.bias" has dtype I16; F32, F16, BF16 and F64 are supported/,
  ],
  'no VAE': [
    (tensors) => {
      for (const key of [...tensors.keys()]) if (key.startsWith('first_stage_model')) tensors.delete(key)
    },
    /the file has no VAE .* specify a VAE file/,
  ],
  'no text encoder': [
    (tensors) => {
      for (const key of [...tensors.keys()]) if (key.startsWith('cond_stage_model')) tensors.delete(key)
    },
    /this is a UNet of Stable Diffusion 1\.x without its text encoder/,
  ],
  'a UNet for another text encoder': [
    (tensors) => {
      const key = 'model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight'
      tensors.set(key, tensorOf(new Float32Array(16 * 24), [16, 24], 'F16'))
    },
    /the UNet takes text states of width 24, but the text encoder outputs 32: they belong to different models/,
  ],
  'a shape with too few axes': [
    (tensors) => tensors.set(conv, tensorOf(new Float32Array(24), [24], 'F16')),
    /input_blocks\.4\.0\.in_layers\.2\.weight" has shape \[24\]; it must have 4 axes/,
  ],
  InstructPix2Pix: [
    (tensors) => {
      const key = 'model.diffusion_model.input_blocks.0.0.weight'
      tensors.set(key, tensorOf(new Float32Array(16 * 8 * 9), [16, 8, 3, 3], 'F16'))
    },
    /the UNet has 8 input channels: this is InstructPix2Pix, which is not supported/,
  ],
  'five input channels': [
    (tensors) => {
      const key = 'model.diffusion_model.input_blocks.0.0.weight'
      tensors.set(key, tensorOf(new Float32Array(16 * 5 * 9), [16, 5, 3, 3], 'F16'))
    },
    /the UNet has 5 input channels; .* 4 are supported, and 9 for inpainting/,
  ],
}

for (const [what, [damage, message]] of Object.entries(damages)) {
  test(`refused by name: ${what}`, async (t) => {
    const path = await changed(t, (tensors) => {
      damage(tensors)
      return tensors
    })
    await refused(openModel(path), message, path)
  })
}

test('a weight of the wrong shape is named as its file names it', async (t) => {
  const path = await changed(t, (tensors) => tensors.set(inner, tensorOf(new Float32Array(31), [31], 'F16')))
  const { unet, architecture } = await openModel(path)
  const shape = { batch: 1, height: 16, width: 16, tokens: 77 }
  assert.throws(
    () => unetGraph(architecture.unet, new Weights(unet), shape),
    /"model\.diffusion_model\.middle_block\.0\.out_layers\.3\.bias" has shape \[31\], the model needs \[32\]/,
  )
})

test('numbers that shapes cannot tell are checked', async (t) => {
  const stated = (text: string) => changed(t, () => undefined, { 'packshot.architecture': text })
  await refused(openModel(await stated('{"groups": 7}')), /16 channels cannot be divided into 7 groups/)
  await refused(openModel(await stated('{"groups": 8, "heads": -1}')), /"heads" is -1; it must be a whole/)
  await refused(openModel(await stated('[')), /packshot\.architecture\): the file is not JSON/)
  const bare = await changed(t, () => undefined, { 'packshot.architecture': '{}' })
  await refused(openModel(bare), /16 channels cannot be divided into 32 groups of the UNet/, bare)
})

test("without a vocabulary of its own a file has CLIP's, and as many tokens", async (t) => {
  const content = await readContent(tinyCheckpoint)
  const { 'packshot.tokenizer': _, ...metadata } = content.metadata
  const path = join(tempFolder(t), 'model.safetensors')
  writeSafetensors(path, { tensors: content.tensors, metadata })
  const model = await openModel(path)
  await refused(model.tokenizer(), /has 800 tokens, but CLIP's vocabulary has 49408/, path)
})

test('without an encoder a model still opens; a VAE file without one does not replace it', async (t) => {
  const drop = (tensors: Tensors) => {
    for (const key of [...tensors.keys()]) if (/(^|\.)(encoder|quant_conv)\./.test(key)) tensors.delete(key)
    return tensors
  }
  const whole = await openModel(tinyCheckpoint)
  const dropVae = (tensors: Tensors) => {
    for (const key of [...tensors.keys()]) {
      if (/^first_stage_model\.(encoder|quant_conv)\./.test(key)) tensors.delete(key)
    }
    return tensors
  }
  const model = await openModel(await changed(t, dropVae))
  assert.equal(model.vae.tensors.has('encoder.conv_in.weight'), false)
  assert.ok(model.vae.tensors.size < whole.vae.tensors.size)
  const vae = await readContent(await writeVariant(tempFolder(t), 'vae'))
  const path = join(tempFolder(t), 'decoder.safetensors')
  writeSafetensors(path, { ...vae, tensors: drop(vae.tensors) })
  await refused(openModel(tinyCheckpoint, { vae: path }), /has no encoder/, path)
})

test('a file without a VAE takes one from beside', async (t) => {
  const place = tempFolder(t)
  const path = await changed(t, (tensors) => {
    for (const key of [...tensors.keys()]) if (key.startsWith('first_stage_model.')) tensors.delete(key)
    return tensors
  })
  const model = await openModel(path, { vae: await writeVariant(place, 'vae') })
  assert.equal(model.vae.name, 'tiny-vae.safetensors')
  const folder = await openModel(tinyFolder, { vae: join(place, 'tiny-vae.safetensors') })
  assert.equal(folder.vae.name, 'tiny-vae.safetensors')
})

test('what is no model is named, and where it belongs', async (t) => {
  const parity = join(tinyFolder, '../parity')
  await refused(
    openModel(join(parity, 'loras/picture-a.safetensors')),
    /this is a LoRA .*, not a model; put it in loras\//,
  )
  await refused(openModel(join(parity, 'embeddings/tinyneg.safetensors')), /an embedding .* embeddings\//)
  await refused(openModel(await writeVariant(tempFolder(t), 'vae')), /this is a VAE.* vae\//)
  await refused(openModel(tinyCheckpoint, { vae: tinyCheckpoint }), /Stable Diffusion 1\.x, not a VAE/)
  await refused(
    openModel(join(tinyFolder, 'unet/diffusion_pytorch_model.safetensors')),
    /a UNet .* without text encoder and VAE/,
  )
  await refused(openModel(join(tinyFolder, 'text_encoder/model.safetensors')), /only a text encoder/)
})

test('pickles and other formats are refused by name and by content', async (t) => {
  const folder = tempFolder(t)
  for (const name of ['a.ckpt', 'a.PT', 'a.pth', 'a.bin']) {
    await refused(
      openModel(join(folder, name)),
      /this is a pickle: it can run code .* download the \.safetensors/,
    )
    await refused(readFacts(join(folder, name)), /this is a pickle/)
    await refused(openModel(tinyCheckpoint, { vae: join(folder, name) }), /this is a pickle/)
  }
  await refused(openModel(join(folder, 'a.gguf')), /GGUF/)
  const contents: Record<string, [Buffer, RegExp]> = {
    zip: [Buffer.from('PK\x03\x04\x00\x00\x08\x08 and more'), /this is a pickle/],
    pickle: [Buffer.from([0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9]), /this is a pickle/],
    gguf: [Buffer.from('GGUF\x03\x00\x00\x00 and more'), /GGUF/],
    pointer: [Buffer.from('version https://git-lfs.github.com/spec/v1'), /Git LFS pointer/],
    page: [Buffer.from('<!DOCTYPE html><html>'), /a web page/],
  }
  for (const [name, [content, message]] of Object.entries(contents)) {
    const path = join(folder, `${name}.safetensors`)
    await writeFile(path, content)
    await refused(openModel(path), message, path)
    await refused(readFacts(path), message, path)
  }
  await refused(openModel(join(folder, 'nothing')), /no such file or folder/)
})

test('a file that changes while it is in use is noticed', async (t) => {
  const path = await writeVariant(tempFolder(t), 'fp16')
  const { unet, vae } = await openModel(path)
  await assertUnchanged(unet)
  await utimes(path, new Date(), new Date(0))
  await refused(assertUnchanged(unet), /the file changed while it was in use/, path)
  await rename(path, `${path}.old`)
  await refused(assertUnchanged(vae), /the file was removed while it was in use/, path)
  await writeVariant(join(path, '..'), 'fp16')
  await refused(assertUnchanged(vae), /the file changed while it was in use/, path)
})

test('a model is known by its own name, with defaults from beside it', async (t) => {
  const folder = tempFolder(t)
  await writeVariant(folder, 'inpainting')
  const link = join(folder, 'my model.safetensors')
  await symlink(join(folder, 'tiny-inpainting.safetensors'), link)
  await writeFile(join(folder, 'my model.json'), '{"steps": 9, "width": 64}')
  const { width, height, steps, inpainting, family } = await describeModel(link)
  assert.deepEqual(
    { width, height, steps, inpainting, family },
    { width: 64, height: 128, steps: 9, inpainting: true, family: 'sd1' },
  )
  assert.equal((await openModel(link)).name, 'my model')
})

test('what a file or folder is, without opening it as a model', async (t) => {
  const folder = tempFolder(t)
  const { model, ...identity } = await readFacts(await writeVariant(folder, 'bf16'))
  assert.ok(!(model instanceof CheckpointError))
  assert.deepEqual(identity, {
    kind: 'model',
    family: 'sd1',
    description: 'Stable Diffusion 1.x',
    dtype: 'BF16',
    tensors: 967,
    parameters: 986592,
    addOn: undefined,
    remarks: [],
  })
  const { kind, family, dtype } = await readFacts(tinyFolder)
  assert.deepEqual({ kind, family, dtype }, { kind: 'model', family: 'sd1', dtype: 'F16' })
  await mkdir(join(folder, 'empty'))
  await refused(readFacts(join(folder, 'empty')), /model_index\.json: the file is missing/)
})
