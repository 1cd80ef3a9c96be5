import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { StoredTensor } from '../safetensors/safetensors.ts'
import { type LoraFacts, loraFacts, misfit } from './facts.ts'

const attention = 'lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k'
const textLayer = 'lora_te_text_model_encoder_layers_0_self_attn_q_proj'

function facts(shapes: Readonly<Record<string, readonly number[]>>): LoraFacts | undefined {
  const tensors = Object.entries(shapes).map(([key, shape]): [string, StoredTensor] => {
    return [key, { key, dtype: 'F16', shape, offset: 0, length: 0 }]
  })
  return loraFacts(new Map(tensors))
}

const kinds: Record<string, [string, Readonly<Record<string, readonly number[]>>]> = {
  'two matrices': ['a LoRA', { [`${attention}.lora_down.weight`]: [8, 768] }],
  'differences of weights': ['a LoRA', { [`${attention}.diff`]: [320, 768] }],
  'a Hadamard product': [
    'a LoHa',
    { [`${attention}.hada_w1_a`]: [320, 8], [`${attention}.hada_w1_b`]: [8, 768] },
  ],
  'a Kronecker product': [
    'a LoKr',
    { [`${attention}.lokr_w1`]: [16, 24], [`${attention}.lokr_w2_b`]: [4, 32] },
  ],
  'sizes of columns': [
    'a DoRA',
    { [`${attention}.lora_down.weight`]: [8, 768], [`${attention}.dora_scale`]: [1, 768] },
  ],
}

for (const [what, [noun, shapes]] of Object.entries(kinds)) {
  test(`${what}: known as ${noun}, with the width of its cross-attention`, () => {
    const known = facts(shapes)
    assert.deepEqual(known, {
      noun,
      family: 'sd1',
      contextWidth: 768,
      textWidth: undefined,
      problem: undefined,
      passedOver: 0,
    })
  })
}

const unusable: Record<string, [string, RegExp]> = {
  OFT: [`${attention}.oft_blocks`, /an OFT/],
  BOFT: [`${attention}.boft_R`, /an OFT/],
  GLoRA: [`${attention}.a1.weight`, /a GLoRA/],
  IA3: [`${attention}.on_input`, /an IA3/],
  'a motion LoRA': ['down_blocks.0.motion_modules.0.attn.processor.to_q_lora.down.weight', /AnimateDiff/],
  'a bundle with embeddings': ['bundle_emb.cat.string_to_param.*', /with embeddings in it/],
  'a LoRA of the VAE': ['lora_vae_decoder_conv_in.lora_down.weight', /changes the VAE/],
  'something new': [`${attention}.some_new_matrix`, /a LoRA with parts of a kind that is not known/],
}

for (const [what, [key, problem]] of Object.entries(unusable)) {
  test(`${what} is refused by what it is, not by the names of its tensors`, () => {
    const known = facts({ [`${attention}.lora_down.weight`]: [8, 768], [key]: [8, 8] })
    assert.match(known?.problem ?? '', problem)
    assert.doesNotMatch(known?.problem ?? '', /lora_|\.weight|_\w+_/)
  })
}

test('counters, and the projection that Stable Diffusion 1.x leaves out, are passed over', () => {
  const known = facts({
    [`${textLayer}.lora_down.weight`]: [8, 768],
    global_step: [],
    'lora_te1_text_projection.lora_down.weight': [8, 768],
  })
  assert.equal(known?.problem, undefined)
  assert.equal(known?.textWidth, 768)
  assert.equal(known?.passedOver, 2)
})

test('a LoRA fits a model by the width of its cross-attention or of its text encoder', () => {
  const model = { contextWidth: 768, textWidth: 768 }
  assert.equal(misfit({ contextWidth: 768, textWidth: undefined }, model), undefined)
  assert.equal(misfit({ contextWidth: undefined, textWidth: undefined }, model), undefined)
  assert.equal(
    misfit({ contextWidth: 1024, textWidth: undefined }, model),
    "is made for Stable Diffusion 2.x, whose text states are 1024 wide; this model's text states are 768 wide",
  )
  assert.match(
    misfit({ contextWidth: undefined, textWidth: 32 }, model) ?? '',
    /another model, whose text encoder is 32 wide/,
  )
})
