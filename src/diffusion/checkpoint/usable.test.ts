import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { tempFolder } from '../../../test/cleanup.ts'
import {
  parityDir,
  readContent,
  type Tensor,
  type Tensors,
  tensorOf,
  tinyCheckpoint,
  writeSafetensors,
  writeVariant,
} from '../../../test/golden/parity/variants.ts'
import { CheckpointError } from '../errors.ts'
import { describeModel, readFacts } from './facts.ts'
import type { Kind } from './kinds.ts'
import { openModel } from './model.ts'
import { misfit, unusable } from './usable.ts'

const matrix = (...shape: number[]) =>
  tensorOf(new Float32Array(shape.reduce((a, b) => a * b, 1)), shape, 'F16')

function written(t: TestContext, tensors: Readonly<Record<string, Tensor>>): string {
  const path = join(tempFolder(t), 'a file.safetensors')
  writeSafetensors(path, { tensors: new Map(Object.entries(tensors)), metadata: {} })
  return path
}

/** The tiny single file with a change. @returns its path */
async function changed(t: TestContext, change: (tensors: Tensors) => void): Promise<string> {
  const { tensors, metadata } = await readContent(tinyCheckpoint)
  change(tensors)
  const path = join(tempFolder(t), 'changed.safetensors')
  writeSafetensors(path, { tensors, metadata })
  return path
}

async function why(path: string, kind: Kind): Promise<string | undefined> {
  try {
    return unusable(path, await readFacts(path), kind)?.reason
  } catch (thrown) {
    assert.ok(thrown instanceof CheckpointError, String(thrown))
    return thrown.reason
  }
}

const key = 'lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k'
const files: Record<string, [Kind, (t: TestContext) => string | Promise<string>, RegExp]> = {
  'a tiny VAE for previews': [
    'vae',
    (t) =>
      written(t, {
        'decoder.layers.0.weight': matrix(1, 4, 3, 3),
        'encoder.layers.1.conv.0.weight': matrix(1, 4, 3, 3),
      }),
    /^this is a TAESD \(a tiny VAE\), not a VAE; put it in tiny_vae\//,
  ],
  'an adapter that no model can use': [
    'lora',
    (t) => written(t, { [`${key}.oft_blocks`]: matrix(4, 4), [`${key}.lora_down.weight`]: matrix(4, 768) }),
    /^this is an OFT/,
  ],
  'a LoRA among the models': [
    'model',
    () => join(parityDir, 'loras/picture-a.safetensors'),
    /^this is a LoRA .* put it in loras\//,
  ],
  'a VAE among the models': [
    'model',
    (t) => writeVariant(tempFolder(t), 'vae'),
    /^this is a VAE.* put it in vae\//,
  ],
  "SDXL's embedding": [
    'embedding',
    (t) => written(t, { clip_g: matrix(1, 1280), clip_l: matrix(1, 768) }),
    /^this is an embedding for Stable Diffusion XL/,
  ],
  'half a VAE': [
    'vae',
    async (t) => {
      const content = await readContent(await writeVariant(tempFolder(t), 'vae'))
      return written(
        t,
        Object.fromEntries([...content.tensors].filter(([name]) => !name.includes('encoder'))),
      )
    },
    /^the VAE has no encoder/,
  ],
  'a model in 8 bits': [
    'model',
    (t) =>
      changed(t, (tensors) => {
        for (const [name, { shape, bytes }] of tensors) {
          if (name.startsWith('model.'))
            tensors.set(name, { dtype: 'F8_E4M3', shape, bytes: bytes.subarray(bytes.length / 2) })
        }
      }),
    /^its weights are stored as F8_E4M3/,
  ],
  'half a download': [
    'model',
    async (t) => {
      const path = join(tempFolder(t), 'half.safetensors')
      const content = await readContent(tinyCheckpoint)
      writeSafetensors(path, content)
      const { truncate } = await import('node:fs/promises')
      await truncate(path, 500_000)
      return path
    },
    /^the file is incomplete/,
  ],
  'an empty file': [
    'embedding',
    async (t) => {
      const path = join(tempFolder(t), 'empty.safetensors')
      await writeFile(path, '')
      return path
    },
    /^the file is empty/,
  ],
  'a login page': [
    'lora',
    async (t) => {
      const path = join(tempFolder(t), 'page.safetensors')
      await writeFile(path, '<!DOCTYPE html><html><title>Log in</title></html>')
      return path
    },
    /^this is a web page/,
  ],
  'a model without some weight': [
    'model',
    (t) => changed(t, (tensors) => void tensors.delete('model.diffusion_model.out.2.bias')),
    /^the file lacks weights of the model/,
  ],
}
for (const [what, [kind, make, reason]] of Object.entries(files)) {
  test(`told by what it is, without names of tensors and paths: ${what}`, async (t) => {
    const said = (await why(await make(t), kind)) ?? ''
    assert.match(said, reason)
    assert.doesNotMatch(said, /\/tmp|\.safetensors:|lora_unet|model\.diffusion|"[a-z_]+\.[a-z_.]+"/)
  })
}

test('other networks in the file of a model, and buffers of any dtype, do not keep it from being used', async (t) => {
  const path = await changed(t, (tensors) => {
    for (const [name, tensor] of [...tensors]) {
      if (name.startsWith('model.diffusion_model.input_blocks.0.'))
        tensors.set(name.replace('model.diffusion_model.', 'control_model.'), tensor)
    }
    tensors.set('safety_checker.concept_embeds', matrix(17, 8))
    tensors.set('alphas_cumprod', { dtype: 'F8_E8M0', shape: [8], bytes: new Uint8Array(8) })
    tensors.set('betas', { dtype: 'BRAND_NEW', shape: [8], bytes: new Uint8Array(3) })
  })
  assert.equal(await why(path, 'model'), undefined)
  assert.deepEqual((await readFacts(path)).remarks, [])
  await openModel(path)
})

test('tensors outside the parts of a model are passed over with a remark, within them they are refused', async (t) => {
  const outside = await changed(t, (tensors) => {
    tensors.set('brand_new.adapter.weight', matrix(2, 2))
    tensors.set('trainer_state', matrix(1))
  })
  assert.equal(await why(outside, 'model'), undefined)
  assert.match(
    (await readFacts(outside)).remarks.join(),
    /: 2 tensors outside the model, such as "brand_new\.adapter\.weight", are passed over$/,
  )
  const within = await changed(
    t,
    (tensors) => void tensors.set('model.diffusion_model.new.weight', matrix(2, 2)),
  )
  assert.match((await why(within, 'model')) ?? '', /^the file has weights that the model has no place for/)
})

test('counters and other networks beside a VAE do not keep it from being used', async (t) => {
  const { tensors } = await readContent(await writeVariant(tempFolder(t), 'vae'))
  tensors.set('global_step', matrix(1))
  tensors.set('discriminator.main.0.weight', matrix(2, 2))
  const path = written(t, Object.fromEntries(tensors))
  const groups = await readContent(tinyCheckpoint)
  writeSafetensors(path, { tensors, metadata: groups.metadata })
  assert.equal(await why(path, 'vae'), undefined)
  tensors.set('decoder.new.weight', matrix(2, 2))
  writeSafetensors(path, { tensors, metadata: groups.metadata })
  assert.match((await why(path, 'vae')) ?? '', /^the file has weights that the model has no place for/)
})

test('a model without a VAE can be used with the file of one', async (t) => {
  const path = await changed(t, (tensors) => {
    for (const name of [...tensors.keys()]) if (name.startsWith('first_stage_model.')) tensors.delete(name)
  })
  const described = await describeModel(path)
  assert.deepEqual([described.needsVae, described.imageToImage, described.sizeMultiple], [true, true, 8])
  const vae = await writeVariant(tempFolder(t), 'vae')
  assert.equal(misfit(await readFacts(vae), described), undefined)
  await openModel(path, { vae })
})

test('an add-on fits models of its own sizes only', async (t) => {
  const model = await describeModel(tinyCheckpoint)
  const lora = (width: number) =>
    written(t, { [`${key}.lora_down.weight`]: matrix(4, width), [`${key}.lora_up.weight`]: matrix(16, 4) })
  const embedding = (width: number) => written(t, { emb_params: matrix(2, width) })
  const fit = async (path: string) => misfit(await readFacts(path), model)
  assert.equal(await fit(lora(32)), undefined)
  assert.match(
    (await fit(lora(768))) ?? '',
    /^is made for Stable Diffusion 1\.x, whose text states are 768 wide/,
  )
  assert.equal(await fit(embedding(32)), undefined)
  assert.match(
    (await fit(embedding(768))) ?? '',
    /^is made for Stable Diffusion 1\.x, whose text encoder is 768 wide/,
  )
  const narrow = { ...model, sizes: { ...model.sizes, scale: 4 } }
  assert.match(
    misfit(await readFacts(await writeVariant(tempFolder(t), 'vae')), narrow) ?? '',
    /8 pixels of a latent/,
  )
})
