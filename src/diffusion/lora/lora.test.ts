import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { before, type TestContext, test } from 'node:test'
import {
  type Content,
  readContent,
  type Tensor,
  tensorOf,
  tinyCheckpoint,
  writeSafetensors,
} from '../../../test/golden/parity/variants.ts'
import { tempFolder } from '../../../test/temp-folder.ts'
import { type DiffusersFolder, openDiffusersFolder } from '../checkpoint/diffusers-folder.ts'
import { openModel } from '../checkpoint/model.ts'
import { CheckpointError } from '../errors.ts'
import { openLora } from './lora.ts'
import { LayerNames } from './names.ts'

const golden = join(import.meta.dirname, '../../../test/golden')
const attention = 'down_blocks.0.attentions.0.transformer_blocks.0.attn2'
const convolution = 'up_blocks.1.upsamplers.0.conv'
const textLayer = 'text_model.encoder.layers.0.self_attn.q_proj'
let model: DiffusersFolder
let peft: Content

before(async () => {
  model = await openDiffusersFolder(join(golden, 'tiny-sd'))
  peft = await readContent(join(golden, 'parity/loras/peft.safetensors'))
})

async function opened(t: TestContext, tensors: Iterable<[string, Tensor]>, metadata = {}) {
  const path = join(tempFolder(t), 'some.safetensors')
  writeSafetensors(path, { tensors: new Map(tensors), metadata })
  return openLora(path, model)
}

/** Numbers from 0 up. */
function counting(shape: readonly number[]): Tensor {
  const count = shape.reduce((product, dim) => product * dim, 1)
  return tensorOf(
    Float32Array.from({ length: count }, (_, i) => i),
    shape,
    'F32',
  )
}

const underscored = (name: string) => name.replaceAll('.', '_')
const inUnet = (key: string) => key.startsWith('unet.')

/** peft.safetensors uses `unet.LAYER.lora_A.weight` and `text_encoder.LAYER.lora_B.weight`. */
const dialects: Record<
  string,
  { only?: RegExp; name: (part: string, layer: string, matrix: 'down' | 'up') => string }
> = {
  kohya: {
    name: (part, layer, matrix) =>
      `lora_${part === 'unet' ? 'unet' : 'te'}_${underscored(layer)}.lora_${matrix}.weight`,
  },
  'kohya, one of several text encoders': {
    name: (part, layer, matrix) =>
      `lora_${part === 'unet' ? 'unet' : 'te1'}_${underscored(layer)}.lora_${matrix}.weight`,
  },
  'diffusers before PEFT': {
    name: (part, layer, matrix) =>
      `${part}.${layer}.${part === 'unet' ? 'lora' : 'lora_linear_layer'}.${matrix}.weight`,
  },
  'attention processors': {
    only: /attn/,
    name: (part, layer, matrix) => {
      const [, block, kind] = /^(.+)\.(?:to_)?(q|k|v|out)(?:_proj|\.0)?$/.exec(layer) as unknown as [
        string,
        string,
        string,
      ]
      return `${part}.${block}.${part === 'unet' ? 'processor.' : ''}to_${kind}_lora.${matrix}.weight`
    },
  },
  "the UNet's attention processors alone": {
    only: /^unet.*attn/,
    name: (_, layer, matrix) =>
      `${layer.replace(/\.to_(\w+)(\.0)?$/, '.processor.to_$1_lora')}.${matrix}.weight`,
  },
  'an adapter with a name': {
    name: (part, layer, matrix) => `${part}.${layer}.lora_${matrix === 'down' ? 'A' : 'B'}.default.weight`,
  },
}

for (const [dialect, { only = /^/, name }] of Object.entries(dialects)) {
  test(`names: ${dialect}`, async (t) => {
    const tensors = [...peft.tensors].filter(([key]) => only.test(key))
    const renamed = tensors.map(([key, tensor]): [string, Tensor] => {
      const [, part, layer, letter] = /^(unet|text_encoder)\.(.+)\.lora_(A|B)\.weight$/.exec(
        key,
      ) as unknown as string[]
      return [name(part as string, layer as string, letter === 'A' ? 'down' : 'up'), tensor]
    })
    assert.notDeepEqual(renamed, tensors)
    const sorted = ({ layers }: Awaited<ReturnType<typeof openLora>>) =>
      [...layers.text, ...layers.unet].sort((a, b) => (a.key < b.key ? -1 : 1))
    const expected = await opened(t, tensors)
    assert.ok(expected.layers.unet.length >= tensors.filter(([key]) => inUnet(key)).length / 2)
    assert.deepEqual(sorted(await opened(t, renamed)), sorted(expected))
  })
}

test('a LoRA fits a single file as it fits a folder', async () => {
  const single = await openModel(tinyCheckpoint)
  for (const name of ['kohya', 'peft', 'ldm']) {
    const path = join(golden, `parity/loras/${name}.safetensors`)
    assert.deepEqual(await openLora(path, single), await openLora(path, model))
  }
})

test('every layer is found by the name that it has in a single file', async () => {
  const single = await openModel(tinyCheckpoint)
  const names = new LayerNames(single)
  const layers = [...single.unet.tensors].filter(([, { shape }]) => shape.length >= 2)
  assert.ok(layers.length > 200)
  for (const [key, stored] of layers) {
    const original = stored.key.replace(/^model\.diffusion_model\./, '').replace(/\.weight$/, '')
    assert.equal(names.find(kohya('unet', original))?.key, key.replace(/\.weight$/, ''))
  }
})

test('alpha: its own tensor, the metadata of diffusers, else the rank', async (t) => {
  const layer = `unet.${attention}.to_q`
  const matrices: [string, Tensor][] = [
    [`${layer}.lora_A.weight`, counting([4, 16])],
    [`${layer}.lora_B.weight`, counting([16, 4])],
  ]
  const scale = async (config?: object, own: [string, Tensor][] = []) => {
    const metadata = config ? { lora_adapter_metadata: JSON.stringify(config) } : {}
    const lora = await opened(t, [...matrices, ...own], metadata)
    return lora.layers.unet[0]?.scale
  }
  assert.equal(await scale(), 1)
  assert.equal(await scale(undefined, [[`${layer}.alpha`, tensorOf(Float32Array.of(2), [], 'F16')]]), 0.5)
  assert.equal(await scale({ 'unet.lora_alpha': 8, 'unet.r': 4 }), 2)
  assert.equal(
    await scale({ 'unet.lora_alpha': 8, 'unet.alpha_pattern': { to_q: 1, 'attn1.to_q': 9 } }),
    0.25,
  )
  assert.equal(await scale({ 'unet.lora_alpha': 8, 'unet.use_rslora': true }), 4)
  assert.equal(await scale({ 'text_encoder.lora_alpha': 8 }), 1)
  await assert.rejects(scale({ 'unet.use_dora': true }), /declares a DoRA/)
  await assert.rejects(scale({ 'unet.lora_alpha': 'much' }), /alpha "much"/)
})

const kohya = (part: 'unet' | 'te', layer: string) => `lora_${part}_${underscored(layer)}`
const pair = (layer: string, down: readonly number[], up: readonly number[]): [string, Tensor][] => [
  [`${layer}.lora_down.weight`, counting(down)],
  [`${layer}.lora_up.weight`, counting(up)],
]
const query = kohya('unet', `${attention}.to_q`)
const key = kohya('unet', `${attention}.to_k`)
const good = pair(query, [4, 16], [16, 4])
const one = counting([1])

const faults: Record<string, [[string, Tensor][], RegExp]> = {
  LoHa: [[[`${query}.hada_w1_a`, one]], /hada_w1_a": this file is a LoHa/],
  LoKr: [[[`${query}.lokr_w1`, one]], /is a LoKr/],
  DoRA: [[...good, [`${query}.dora_scale`, one]], /is a DoRA/],
  IA3: [[[`${query}.on_input`, one]], /is an IA3/],
  'a bias': [[...good, [`unet.${attention}.to_q.lora_B.bias`, one]], /changes weights or biases directly/],
  'a full difference': [[[`${kohya('unet', 'conv_in')}.diff`, one]], /changes weights or biases directly/],
  'SDXL by its second text encoder': [
    pair('lora_te2_text_model_x', [4, 4], [4, 4]),
    /made for Stable Diffusion XL/,
  ],
  'SDXL by the width of its text': [
    pair(key, [4, 2048], [320, 4]),
    /made for Stable Diffusion XL, whose text states are 2048 wide; this model's text states are 32 wide/,
  ],
  'SD 2 by the width of its text': [pair(key, [4, 1024], [320, 4]), /made for Stable Diffusion 2\.x/],
  'SD 1.x for this small model': [pair(key, [4, 768], [320, 4]), /made for Stable Diffusion 1\.x/],
  Flux: [pair('lora_unet_double_blocks_0_img_attn_proj', [4, 4], [4, 4]), /made for Flux/],
  'SD 3': [pair('lora_unet_joint_blocks_0_x', [4, 4], [4, 4]), /made for Stable Diffusion 3/],
  'no LoRA': [[['emb_params', one]], /"emb_params" is not a LoRA tensor/],
  nothing: [[], /no tensors/],
  'a layer that the model does not have': [
    pair(kohya('unet', `${attention}.to_w`), [4, 16], [16, 4]),
    /the model has no layer for "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_w"/,
  ],
  'a layer of another part': [
    pair(kohya('te', 'conv_in'), [4, 16], [16, 4]),
    /no layer for "lora_te_conv_in"/,
  ],
  'one layer by two names': [
    [...good, ...pair(`unet.${attention}.to_q`, [4, 16], [16, 4])],
    /"lora_unet_.*_to_q" and "unet\..*to_q" are the same layer/,
  ],
  'one tensor by two names': [
    [
      ...pair(`unet.${attention}.to_q`, [4, 16], [16, 4]),
      [`unet.${attention}.to_q.lora_A.weight`, counting([4, 16])],
    ],
    /are the same tensor/,
  ],
  'half a pair': [good.slice(0, 1), /has no up matrix/],
  'alpha alone': [[[`${query}.alpha`, one]], /has no down matrix/],
  'another width': [
    pair(query, [4, 24], [16, 4]),
    /lora_down.weight" has shape \[4, 24\]; layer .* needs \[rank, 16\]/,
  ],
  'another height': [
    pair(query, [4, 16], [24, 4]),
    /lora_up.weight" has shape \[24, 4\]; layer .* needs \[16, rank\]/,
  ],
  'two ranks': [pair(query, [4, 16], [16, 8]), /shape \[16, 8\]; .* the rank of its down matrix is 4/],
  'rank 0': [pair(query, [0, 16], [16, 0]), /shape \[0, 16\]/],
  'a matrix for a convolution': [
    pair(kohya('unet', convolution), [4, 32], [32, 4]),
    /shape \[4, 32\]; layer .* needs \[rank, 32, 3, 3\]/,
  ],
  'an alpha of two numbers': [
    [...good, [`${query}.alpha`, counting([2])]],
    /"lora_.*alpha" has shape \[2\]; it must be one/,
  ],
  'whole numbers': [
    [
      [`${query}.lora_down.weight`, { dtype: 'I8', shape: [4, 16], bytes: new Uint8Array(64) }],
      good[1] as [string, Tensor],
    ],
    /lora_down.weight" has dtype I8/,
  ],
  'not a number': [
    [
      good[0] as [string, Tensor],
      [`${query}.lora_up.weight`, tensorOf(new Float32Array(64).fill(Number.NaN), [16, 4], 'F16')],
    ],
    /lora_up.weight" contains infinite or NaN values/,
  ],
}

for (const [what, [tensors, message]] of Object.entries(faults)) {
  test(`refused by name: ${what}`, async (t) => {
    await assert.rejects(opened(t, tensors), (error: unknown) => {
      assert.ok(error instanceof CheckpointError, String(error))
      assert.match(error.message, message)
      assert.match(error.message, /some\.safetensors/, 'the file is named')
      return true
    })
  })
}

test('refused by name: a pickle', async (t) => {
  const path = join(tempFolder(t), 'some.pt')
  await writeFile(path, '')
  await assert.rejects(openLora(path, model), /some\.pt: this is a pickle/)
})

test('a convolution of one pixel and a text layer may be written as matrices or as convolutions', async (t) => {
  const projection = kohya('unet', 'mid_block.attentions.0.proj_in')
  const text = kohya('te', textLayer)
  const [flat, deep] = await Promise.all(
    [[], [1, 1]].map((ones) =>
      opened(t, [
        ...pair(projection, [4, 32, ...ones], [32, 4, ...ones]),
        ...pair(text, [4, 32, ...ones], [32, 4, ...ones]),
      ]),
    ),
  )
  assert.deepEqual(flat?.layers.unet[0]?.inner, [32])
  assert.deepEqual(flat?.layers, deep?.layers)
})
