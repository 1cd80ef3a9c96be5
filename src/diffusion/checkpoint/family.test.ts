import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Family } from './families.ts'
import { classify } from './family.ts'
import type { Classified } from './kinds.ts'

type Shapes = Readonly<Record<string, readonly number[]>>

const ldm = 'model.diffusion_model.'
const toK = 'transformer_blocks.0.attn2.to_k'
const firstConv = { [`${ldm}input_blocks.0.0.weight`]: [320, 4, 3, 3] }

/** A few keys and shapes of real files, as their projects write them. */
const files: readonly (readonly [string, Classified['kind'], Family, Shapes])[] = [
  [
    'SD 1.5',
    'model',
    'sd1',
    {
      ...firstConv,
      [`${ldm}input_blocks.1.1.${toK}.weight`]: [320, 768],
      'cond_stage_model.transformer.text_model.final_layer_norm.bias': [768],
    },
  ],
  [
    'SD 2.1',
    'model',
    'sd2',
    {
      ...firstConv,
      [`${ldm}input_blocks.1.1.${toK}.weight`]: [320, 1024],
      'cond_stage_model.model.token_embedding.weight': [49408, 1024],
    },
  ],
  ['SD 2 UNet', 'model', 'sd2', { ...firstConv, [`${ldm}input_blocks.1.1.${toK}.weight`]: [320, 1024] }],
  [
    'SDXL',
    'model',
    'sdxl',
    {
      ...firstConv,
      [`${ldm}label_emb.0.0.weight`]: [1280, 2816],
      [`${ldm}input_blocks.4.1.${toK}.weight`]: [640, 2048],
      'conditioner.embedders.0.transformer.text_model.final_layer_norm.bias': [768],
      'conditioner.embedders.1.model.transformer.resblocks.9.mlp.c_proj.bias': [1280],
    },
  ],
  ['SDXL UNet', 'model', 'sdxl', { ...firstConv, [`${ldm}input_blocks.4.1.${toK}.weight`]: [640, 2048] }],
  [
    'SDXL refiner',
    'model',
    'sdxl-refiner',
    { ...firstConv, 'conditioner.embedders.0.model.transformer.resblocks.9.mlp.c_proj.bias': [1280] },
  ],
  [
    'SDXL UNet of diffusers',
    'model',
    'sdxl',
    { 'add_embedding.linear_1.weight': [1280, 2816], 'conv_in.weight': [320, 4, 3, 3] },
  ],
  [
    'SVD',
    'model',
    'svd',
    {
      ...firstConv,
      [`${ldm}input_blocks.1.0.time_stack.in_layers.0.weight`]: [320],
      'conditioner.embedders.0.open_clip.model.logit_scale': [],
    },
  ],
  ['SD 3', 'model', 'sd3', { [`${ldm}joint_blocks.0.context_block.adaLN_modulation.1.bias`]: [9216] }],
  ['SD 3 of diffusers', 'model', 'sd3', { 'transformer_blocks.0.attn.add_q_proj.weight': [1536, 1536] }],
  ['Flux', 'model', 'flux', { 'double_blocks.0.img_attn.norm.key_norm.scale': [128] }],
  ['Flux all in one', 'model', 'flux', { [`${ldm}double_blocks.0.img_attn.norm.key_norm.scale`]: [128] }],
  ['Flux of diffusers', 'model', 'flux', { 'single_transformer_blocks.0.attn.norm_k.weight': [128] }],
  [
    'Hunyuan Video',
    'model',
    'hunyuan-video',
    {
      'double_blocks.0.img_attn_qkv.weight': [9216, 3072],
      'txt_in.individual_token_refiner.blocks.0.adaLN_modulation.1.bias': [6144],
    },
  ],
  ['PixArt', 'model', 'pixart', { 'adaln_single.linear.weight': [6912, 1152] }],
  ['Stable Cascade', 'model', 'cascade', { 'clip_txt_mapper.weight': [1536, 1280] }],
  ['AuraFlow', 'model', 'auraflow', { 'double_layers.0.attn.w2q.weight': [3072, 3072] }],
  ['Lumina 2', 'model', 'lumina', { [`${ldm}cap_embedder.0.weight`]: [2304] }],
  ['LTX', 'model', 'ltx', { [`${ldm}patchify_proj.weight`]: [2048, 128] }],
  ['Wan', 'model', 'wan', { 'head.modulation': [1, 2, 1536] }],
  ['Mochi', 'model', 'mochi', { 'blocks.0.attn.qkv_x.weight': [9216, 3072] }],
  ['a UNet of diffusers', 'other', 'sd1', { [`down_blocks.0.attentions.0.${toK}.weight`]: [320, 768] }],
  [
    'a ControlNet',
    'other',
    'sd1',
    {
      'control_model.input_hint_block.0.weight': [16],
      [`control_model.input_blocks.1.1.${toK}.weight`]: [320, 768],
    },
  ],
  [
    'a ControlNet of diffusers',
    'other',
    'sdxl',
    {
      'controlnet_cond_embedding.conv_in.weight': [16, 3, 3, 3],
      'add_embedding.linear_1.weight': [1280, 2816],
      [`down_blocks.1.attentions.0.${toK}.weight`]: [640, 2048],
    },
  ],
  [
    'AnimateDiff',
    'other',
    'unknown',
    { 'down_blocks.0.motion_modules.0.temporal_transformer.norm.bias': [320] },
  ],
  [
    'an IP-Adapter',
    'other',
    'unknown',
    { 'image_proj.proj.weight': [3072, 1024], 'ip_adapter.1.to_k_ip.weight': [320, 768] },
  ],
  [
    'T5',
    'other',
    'unknown',
    { 'shared.weight': [32128, 4096], 'encoder.block.0.layer.0.SelfAttention.k.weight': [4096, 4096] },
  ],
  [
    'a VAE',
    'vae',
    'sd1',
    { 'decoder.conv_in.weight': [512, 4, 3, 3], 'encoder.conv_in.weight': [128, 3, 3, 3] },
  ],
  [
    'a VAE with prefix',
    'vae',
    'sd1',
    { 'first_stage_model.decoder.conv_in.weight': [512, 4, 3, 3], 'loss.logvar': [] },
  ],
  [
    "Flux's VAE",
    'vae',
    'unknown',
    { 'decoder.conv_in.weight': [512, 16, 3, 3], 'encoder.conv_in.weight': [128, 3, 3, 3] },
  ],
  [
    'kohya for SD 1',
    'lora',
    'sd1',
    {
      'lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight': [8, 768],
      'lora_te_text_model_encoder_layers_0_mlp_fc1.alpha': [],
    },
  ],
  [
    'kohya for SD 2',
    'lora',
    'sd2',
    {
      'lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight': [8, 1024],
    },
  ],
  [
    'kohya for SDXL',
    'lora',
    'sdxl',
    {
      'lora_te1_text_model_encoder_layers_0_self_attn_q_proj.lora_down.weight': [8, 768],
      'lora_te2_text_model_encoder_layers_0_self_attn_q_proj.lora_down.weight': [8, 1280],
    },
  ],
  [
    'kohya for the text encoder alone',
    'lora',
    'sd2',
    {
      'lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_up.weight': [1024, 8],
      'lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_down.weight': [8, 1024],
    },
  ],
  ['PEFT for SDXL', 'lora', 'sdxl', { [`unet.down_blocks.1.attentions.0.${toK}.lora_A.weight`]: [8, 2048] }],
  [
    'old diffusers',
    'lora',
    'sd1',
    { 'down_blocks.0.attentions.0.transformer_blocks.0.attn2.processor.to_k_lora.down.weight': [4, 768] },
  ],
  ['LoHa', 'lora', 'sd1', { 'lora_unet_mid_block_attentions_0_proj_in.hada_w1_a': [1280, 8] }],
  ['LoKr', 'lora', 'sd1', { 'lora_unet_mid_block_attentions_0_proj_in.lokr_w1': [16, 16] }],
  ['for Flux', 'lora', 'flux', { 'lora_unet_double_blocks_0_img_attn_proj.lora_down.weight': [16, 3072] }],
  ['EasyNegative', 'embedding', 'sd1', { emb_params: [8, 768] }],
  ['an embedding of diffusers', 'embedding', 'sd1', { '<cat-toy>': [768] }],
  ['an embedding for SD 2', 'embedding', 'sd2', { emb_params: [2, 1024] }],
  ['an embedding for SDXL', 'embedding', 'sdxl', { clip_l: [2, 768], clip_g: [2, 1280] }],
  [
    'something else',
    'other',
    'unknown',
    { 'a.weight': [2, 2], 'b.weight': [3], 'c.bias': [1], 'd.bias': [1] },
  ],
  ['nothing', 'other', 'unknown', {}],
]

function of(shapes: Shapes): ReturnType<typeof classify> {
  const tensors = Object.entries(shapes).map(
    ([key, shape]) => [key, { key, dtype: 'F16', shape, offset: 0, length: 0 }] as const,
  )
  return classify(new Map(tensors))
}

for (const [name, kind, family, shapes] of files) {
  test(`told from its keys: ${name}`, () => {
    const actual = of(shapes)
    assert.deepEqual([actual.kind, actual.family], [kind, family])
  })
}

test('what is not known is described by its first keys', () => {
  const { description } = of({ 'a.weight': [2, 2], 'b.weight': [3], 'c.bias': [1], 'd.bias': [1] })
  assert.equal(description, 'of an unknown kind (first keys: a.weight, b.weight, c.bias)')
  assert.equal(of({}).description, 'a file without tensors')
})
