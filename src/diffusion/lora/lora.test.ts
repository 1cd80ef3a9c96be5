import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { before, type TestContext, test } from 'node:test'
import { tempFolder } from '../../../test/cleanup.ts'
import {
  type Content,
  readContent,
  type Tensor,
  tensorOf,
  tinyCheckpoint,
  writeSafetensors,
} from '../../../test/golden/parity/variants.ts'
import { type DiffusersFolder, openDiffusersFolder } from '../checkpoint/diffusers-folder.ts'
import { readFacts } from '../checkpoint/facts.ts'
import { unetKeys } from '../checkpoint/ldm-keys.ts'
import { openModel } from '../checkpoint/model.ts'
import { CheckpointError } from '../errors.ts'
import type { Dtype } from '../safetensors/safetensors.ts'
import { type Lora, openLora } from './lora.ts'
import { LayerNames } from './names.ts'
import { planLoras } from './plan.ts'

/** LoRAs as they are found. Longer than most files: one place shows every spelling, and every refusal. */

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

/** What the model is fed with the LoRA. */
async function feedsOf(lora: Lora) {
  const uses = [{ lora, strengths: { text: 1, unet: 1 } }]
  const [text, unet] = [await planLoras(uses, 'text', model.text), await planLoras(uses, 'unet', model.unet)]
  return { text: text.feeds, unet: unet.feeds }
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
const inUnetOnly = /^unet/
const letter = (matrix: 'down' | 'up') => (matrix === 'down' ? 'A' : 'B')
const original = (layer: string) => {
  const pairs = new Map(unetKeys(model.architecture.unet))
  return (pairs.get(`${layer}.weight`) as string).replace(/\.weight$/, '')
}

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
    name: (part, layer, matrix) => `${part}.${layer}.lora_${letter(matrix)}.default.weight`,
  },
  'an adapter with a name of its own': {
    name: (part, layer, matrix) => `${part}.${layer}.lora_${letter(matrix)}.my-style.weight`,
  },
  "ComfyUI's": {
    name: (part, layer, matrix) =>
      part === 'unet'
        ? `diffusion_model.${original(layer)}.lora_${matrix}.weight`
        : `text_encoders.clip_l.transformer.${layer}.lora_${matrix}.weight`,
  },
  "ComfyUI's, without the text encoder's name": {
    name: (part, layer, matrix) =>
      part === 'unet'
        ? `diffusion_model.${original(layer)}.lora_${matrix}.weight`
        : `text_encoders.${layer}.lora_${matrix}.weight`,
  },
  "PEFT's, of a part alone": {
    only: inUnetOnly,
    name: (_, layer, matrix) => `base_model.model.${layer}.lora_${letter(matrix)}.weight`,
  },
  "PEFT's, of the text encoder alone": {
    only: /^text/,
    name: (_, layer, matrix) => `base_model.model.${layer}.lora_${letter(matrix)}.weight`,
  },
  "PEFT's, of both parts": {
    name: (part, layer, matrix) => `${part}.base_model.model.${layer}.lora_${letter(matrix)}.weight`,
  },
  "OneTrainer's": {
    name: (part, layer, matrix) =>
      part === 'unet'
        ? `unet.${original(layer)}.lora_${matrix}.weight`
        : `clip_l.${layer}.lora_${matrix}.weight`,
  },
  "SimpleTuner's": {
    only: inUnetOnly,
    name: (_, layer, matrix) => `lycoris_${underscored(layer)}.lora_${matrix}.weight`,
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
    const expected = await opened(t, tensors)
    const inUnet = tensors.filter(([key]) => key.startsWith('unet.'))
    assert.ok(expected.layers.unet.length >= inUnet.length / 2)
    assert.deepEqual(await feedsOf(await opened(t, renamed)), await feedsOf(expected))
  })
}

test('a LoRA fits a single file as it fits a folder', async () => {
  const single = await openModel(tinyCheckpoint)
  for (const name of ['kohya', 'peft', 'ldm']) {
    const path = join(golden, `parity/loras/${name}.safetensors`)
    assert.deepEqual((await openLora(path, single)).layers, (await openLora(path, model)).layers)
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
    const up = (await feedsOf(await opened(t, [...matrices, ...own], metadata))).unet[
      `lora:${attention}.to_q:up`
    ]
    return up?.data[1]
  }
  const alpha = (tensor: Tensor): [string, Tensor][] => [[`${layer}.alpha`, tensor]]
  assert.equal(await scale(), 1)
  assert.equal(await scale(undefined, alpha(tensorOf(Float32Array.of(2), [], 'F16'))), 0.5)
  const whole = {
    I64: BigInt64Array.of(2n),
    I32: Int32Array.of(2),
    I16: Int16Array.of(2),
    U8: Uint8Array.of(2),
  }
  for (const [dtype, values] of Object.entries(whole) as [Dtype, ArrayBufferView][]) {
    const bytes = new Uint8Array(values.buffer)
    assert.equal(await scale(undefined, alpha({ dtype, shape: [], bytes })), 0.5, dtype)
    assert.equal(await scale(undefined, alpha({ dtype, shape: [1], bytes })), 0.5, dtype)
  }
  assert.equal(await scale({ 'unet.lora_alpha': 8, 'unet.r': 4 }), 2)
  assert.equal(await scale({ 'unet.lora_alpha': 8, 'unet.use_rslora': true }), 4)
  assert.equal(await scale({ 'text_encoder.lora_alpha': 8 }), 1)
  const patterned = (patterns: object) => scale({ 'unet.lora_alpha': 8, 'unet.alpha_pattern': patterns })
  assert.equal(await patterned({ to_q: 1, 'attn1.to_q': 9 }), 0.25)
  assert.equal(await patterned({ '.*attn2\\.to_[qk]': 2 }), 0.5)
  assert.equal(await patterned({ '(to_k|to_v)': 1, 'attn2.to_q': 2, to_q: 1 }), 0.5, 'the first that matches')
  assert.equal(await patterned({ '^down_blocks.*': 2 }), 0.5)
  assert.equal(await patterned({ o_q: 1, 'attn2.to': 1 }), 2, 'whole names between dots')
  await assert.rejects(scale({ 'unet.lora_alpha': 'much' }), /alpha "much"/)
  await assert.rejects(patterned({ '(to_q': 1 }), /alpha_pattern that cannot be matched/)
  await assert.rejects(patterned({ '(([a-z0-9_]+)+[.]?)+!': 1 }), /alpha_pattern that cannot be matched/)
})

test('alpha: in adapter_config.json beside the file, as PEFT writes it', async (t) => {
  const path = join(tempFolder(t), 'adapter_model.safetensors')
  writeSafetensors(path, {
    metadata: {},
    tensors: new Map([
      [`base_model.model.${attention}.to_q.lora_A.weight`, counting([4, 16])],
      [`base_model.model.${attention}.to_q.lora_B.weight`, counting([16, 4])],
    ]),
  })
  await writeFile(join(path, '../adapter_config.json'), '{"peft_type": "LORA", "r": 4, "lora_alpha": 16}')
  const { unet } = await feedsOf(await openLora(path, model))
  assert.equal(unet[`lora:${attention}.to_q:up`]?.data[1], 4)
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

const sizes = /matrices of sizes that this model does not have/

/** By what the file is; the second expression is about the cause, which is for the log. */
const faults: Record<string, [[string, Tensor][], RegExp, RegExp?]> = {
  IA3: [[[`${query}.on_input`, one]], /this is an IA3/],
  OFT: [[[`${query}.oft_blocks`, one]], /this is an OFT/],
  GLoRA: [[...good, [`${query}.a1.weight`, one]], /this is a GLoRA/],
  'something new': [
    [...good, [`${query}.new_thing`, one]],
    /a LoRA with parts of a kind that is not known/,
    /to_q\.new_thing/,
  ],
  'half a LoHa': [[[`${query}.hada_w1_a`, one]], /matrices of sizes/, /do not fit each other/],
  'half a LoKr': [[[`${query}.lokr_w1`, one]], /matrices of sizes/, /do not fit each other/],
  'a bias for a layer without one': [
    [...good, [`unet.${attention}.to_q.diff_b`, counting([16])]],
    /several LoRAs|matrices of sizes/,
  ],
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
  'no LoRA': [[['emb_params', one]], /this is not a LoRA/],
  nothing: [[], /this is not a LoRA/],
  'a layer that the model does not have': [
    pair(kohya('unet', `${attention}.to_w`), [4, 16], [16, 4]),
    /changes layers that this model does not have/,
    /"lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_w"/,
  ],
  'a layer of another part': [
    pair(kohya('te', 'conv_in'), [4, 16], [16, 4]),
    /changes layers that this model does not have/,
    /"lora_te_conv_in"/,
  ],
  'one layer by two names': [
    [...good, ...pair(`unet.${attention}.to_q`, [4, 16], [16, 4])],
    /several LoRAs/,
    /"lora_unet_.*_to_q" and "unet\..*to_q" are the same layer/,
  ],
  'one tensor by two names': [
    [
      ...pair(`unet.${attention}.to_q`, [4, 16], [16, 4]),
      [`unet.${attention}.to_q.lora_A.weight`, counting([4, 16])],
    ],
    /several LoRAs/,
    /are the same tensor/,
  ],
  'two adapters in one file': [
    ['one', 'two'].flatMap((name): [string, Tensor][] => [
      [`unet.${attention}.to_q.lora_A.${name}.weight`, counting([4, 16])],
      [`unet.${attention}.to_q.lora_B.${name}.weight`, counting([16, 4])],
    ]),
    /several LoRAs/,
  ],
  'half a pair': [good.slice(0, 1), sizes, /do not fit each other/],
  'alpha alone': [[[`${query}.alpha`, one]], /changes nothing that pictures depend on/],
  'another width': [pair(query, [4, 24], [16, 4]), sizes, /16 x 24.*lora_down.weight" \[4, 24\]/],
  'another height': [pair(query, [4, 16], [24, 4]), sizes, /24 x 16.*lora_up.weight" \[24, 4\]/],
  'two ranks': [pair(query, [4, 16], [16, 8]), sizes, /do not fit each other.*\[16, 8\]/],
  'rank 0': [pair(query, [0, 16], [16, 0]), sizes, /\[0, 16\]/],
  'a matrix for a convolution': [
    pair(kohya('unet', convolution), [4, 32], [32, 4]),
    sizes,
    /32 x 32 x 3 x 3: 32 x 32/,
  ],
  'an alpha of two numbers': [[...good, [`${query}.alpha`, counting([2])]], sizes, /alpha is not one number/],
  'sizes of DoRA for another layer': [
    [...good, [`${query}.dora_scale`, counting([1, 5])]],
    sizes,
    /the sizes of DoRA do not fit/,
  ],
  'sizes of DoRA that are neither of outputs nor a row of inputs': [
    [...pair(key, [4, 32], [16, 4]), [`${key}.dora_scale`, counting([32])]],
    sizes,
    /the sizes of DoRA do not fit/,
  ],
  'a bias of another size': [
    [
      ...pair(kohya('unet', convolution), [4, 32, 3, 3], [32, 4]),
      [`${kohya('unet', convolution)}.diff_b`, counting([5])],
    ],
    sizes,
    /the bias does not fit/,
  ],
}

for (const [what, [tensors, message, cause = /^/]] of Object.entries(faults)) {
  test(`refused by name: ${what}`, async (t) => {
    await assert.rejects(opened(t, tensors), (error: unknown) => {
      assert.ok(error instanceof CheckpointError, String(error))
      assert.match(error.message, message)
      assert.match(error.message, /some\.safetensors/, 'the file is named')
      assert.doesNotMatch(error.message, /lora_|hada_|lokr_|unet\./, 'tensors are for the log')
      assert.match(String(error.cause), cause)
      return true
    })
  })
}

test('refused when it is applied: numbers that are not finite, or none at all', async (t) => {
  const nan = tensorOf(new Float32Array(64).fill(Number.NaN), [16, 4], 'F16')
  const [down] = good as [[string, Tensor]]
  const broken = await opened(t, [down, [`${query}.lora_up.weight`, nan]])
  await assert.rejects(feedsOf(broken), /some\.safetensors: the file has numbers that cannot be used/)
})

test('what belongs to a layer may be under another of its names', async (t) => {
  const own = (alpha: string, sizes: string): [string, Tensor][] => [
    ...good,
    [alpha, tensorOf(Float32Array.of(2), [], 'F32')],
    [sizes, counting([16])],
  ]
  const together = await opened(t, own(`${query}.alpha`, `${query}.lora_magnitude_vector`))
  const dotted = query.replace(/_to_q$/, '.to_q')
  for (const alpha of [`${dotted}_lora.alpha`, `unet.${attention}.to_q.lora.alpha`, `${dotted}.alpha`]) {
    const apart = await opened(t, own(alpha, `${dotted}.lora_magnitude_vector`))
    assert.deepEqual(await feedsOf(apart), await feedsOf(together), alpha)
  }
})

test('an alpha that a pruned file kept, and counters of training, are passed over', async (t) => {
  const more: [string, Tensor][] = [
    [`${key}.alpha`, counting([])],
    ['lora_te_text_projection.alpha', counting([])],
    ['global_step', counting([])],
  ]
  assert.deepEqual(await feedsOf(await opened(t, [...good, ...more])), await feedsOf(await opened(t, good)))
})

test('what is passed over is reported', async (t) => {
  const path = join(tempFolder(t), 'some.safetensors')
  const more: [string, Tensor][] = [['lora_te_text_projection.alpha', counting([])]]
  writeSafetensors(path, { tensors: new Map([...good, ...more]), metadata: {} })
  assert.match(
    (await readFacts(path)).remarks.join(),
    /1 of its tensors, on which no picture depends, are passed over/,
  )
  writeSafetensors(path, { tensors: new Map(good), metadata: {} })
  assert.deepEqual((await readFacts(path)).remarks, [])
})

test('matrices of 8 bits and of 64, zeros, and a text encoder alone are taken as they are', async (t) => {
  const up = (dtype: Dtype, bytes: Uint8Array): [string, Tensor] => {
    return [`${query}.lora_up.weight`, { dtype, shape: [16, 4], bytes }]
  }
  const [down] = good as [[string, Tensor]]
  const values = async (tensor: [string, Tensor]) => {
    const { unet } = await feedsOf(await opened(t, [down, tensor]))
    return [...(unet[`lora:${attention}.to_q:up`]?.data.slice(0, 4) ?? [])]
  }
  // 1, -1.5, 2^-9, 448 and 1, -1.5, 2^-16, 57344
  const small = Uint8Array.from({ length: 64 }, (_, i) => [0x38, 0xbc, 0x01, 0x7e][i % 4] as number)
  assert.deepEqual(await values(up('F8_E4M3', small)), [1, -1.5, 2 ** -9, 448])
  const wide = Uint8Array.from({ length: 64 }, (_, i) => [0x3c, 0xbe, 0x01, 0x7b][i % 4] as number)
  assert.deepEqual(await values(up('F8_E5M2', wide)), [1, -1.5, 2 ** -16, 57344])
  const double = new Float64Array(64).fill(0.5)
  assert.deepEqual(await values(up('F64', new Uint8Array(double.buffer))), [0.5, 0.5, 0.5, 0.5])
  assert.deepEqual(await values(up('F32', new Uint8Array(256))), [0, 0, 0, 0])
  const text = await opened(t, pair(kohya('te', textLayer), [4, 32], [32, 4]))
  assert.deepEqual(Object.keys((await feedsOf(text)).unet), [])
})

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
  assert.deepEqual(await feedsOf(flat as Lora), await feedsOf(deep as Lora))
})
