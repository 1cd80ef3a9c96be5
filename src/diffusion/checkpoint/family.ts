import { loraFacts } from '../lora/facts.ts'
import type { StoredTensor } from '../safetensors/safetensors.ts'
import { type Family, families, familyOfWidth } from './families.ts'
import type { Classified } from './kinds.ts'
import { upscalerKind } from './upscaler-keys.ts'

/**
 * Classifies a file of tensors by its keys and shapes alone: the key names are those of the projects that write them
 * (diffusers' single_file_utils.py lists many).
 */

type Tensors = ReadonlyMap<string, StoredTensor>

/** Keys of architectures that share none with Stable Diffusion 1.x; the first match counts. */
const foreignKeys: readonly (readonly [Family, RegExp])[] = [
  ['svd', /\.time_stack\./],
  ['sdxl', /^conditioner\.embedders\.1\./],
  ['sdxl-refiner', /^conditioner\.embedders\.0\.model\./],
  ['sdxl', /^(conditioner\.|add_embedding\.linear_1\.)/],
  ['sd3', /(^|\.)(joint_blocks\.|transformer_blocks\.0\.attn\.add_q_proj\.)/],
  ['hunyuan-video', /(^|\.)txt_in\.individual_token_refiner\./],
  ['flux', /(^|\.)(double_blocks\.|single_transformer_blocks\.)/],
  ['auraflow', /(^|\.)double_layers\./],
  ['lumina', /(^|\.)cap_embedder\./],
  ['ltx', /(^|\.)patchify_proj\./],
  ['wan', /(^|\.)head\.modulation$/],
  ['mochi', /(^|\.)attn\.qkv_x\./],
  ['cascade', /(^|\.)(clip_txt_mapper\.|channelwise\.)/],
  ['pixart', /(^|\.)(adaln_single\.|cross_attn\.kv_linear\.)/],
]

/** LDM's LitEma drops the dots from the names of averaged weights. @param name without `model.diffusion_model.` */
export function averagedKey(name: string): string {
  return `model_ema.diffusion_model${name.replaceAll('.', '')}`
}

export function classify(tensors: Tensors): Classified {
  const keys = [...tensors.keys()]
  const some = (pattern: RegExp) => keys.some((key) => pattern.test(key))
  // an IP-Adapter may have LoRAs in it
  if (some(/^(image_proj|ip_adapter)\./)) return other('an IP-Adapter')
  const lora = loraFacts(tensors)
  if (lora !== undefined) return { ...named('lora', lora.family, lora.noun), lora }
  const embedding = embeddingWidth(tensors)
  if (embedding !== undefined) return named('embedding', familyOfWidth(embedding), 'an embedding')
  if (some(/(^|\.)motion_modules\./)) return other('an AnimateDiff motion module')
  if (some(/^(control_model\.|controlnet_|input_hint_block\.|zero_convs\.|lllite_)/)) {
    const inside = some(/^model(_ema)?\.diffusion_model\.?input_blocks/)
    if (!inside) return named('other', familyOfContext(tensors), 'a ControlNet')
  }
  if (some(/^adapter\.body\./)) return other('a T2I-Adapter')
  const tiny = tinyVae(tensors)
  if (tiny !== undefined) return tiny
  const upscaler = upscalerKind(tensors)
  if (upscaler?.usable === true)
    return { kind: 'upscaler', family: 'any', description: `an upscaler (${upscaler.name})` }
  if (upscaler !== undefined) {
    return other(
      `an upscaler of the kind ${upscaler.name}, which cannot be used; RRDBNet (ESRGAN, Real-ESRGAN) and SRVGG can`,
      'any',
    )
  }
  for (const [family, pattern] of foreignKeys) {
    if (some(pattern)) return { kind: 'model', family, description: families[family].name }
  }
  return originalLayout(tensors, some) ?? partAlone(tensors, some) ?? namedByConcept(tensors) ?? unknown(keys)
}

/** TAESD's own files have the layers of one half, counted from 0; the decoder's first has no weights. */
function tinyVae(tensors: Tensors): Classified | undefined {
  const first = tensors.get('decoder.layers.0.weight') ?? tensors.get('1.weight')
  const own = (tensors.has('1.weight') || tensors.has('0.weight')) && tensors.has('3.conv.0.weight')
  const [, , rows] = first?.shape ?? []
  const block = [
    'decoder.layers.2.conv.0.weight',
    'encoder.layers.1.conv.0.weight',
    'encoder.layers.4.conv.0.weight',
  ]
  if (!own && !block.some((key) => tensors.has(key))) return undefined
  const channels = rows === undefined ? 0 : (first?.shape[1] ?? 0)
  const family = channels < latentChannelsOfFlux ? 'sd1' : 'unknown'
  const description = `a TAESD (a tiny VAE)${family === 'sd1' ? '' : ` with ${channels} latent channels`}`
  return { kind: 'tiny_vae', family, description }
}

function named(kind: Classified['kind'], family: Family, what: string): Classified {
  return { kind, family, description: `${what} for ${families[family].name}` }
}

function other(description: string, family: Family = 'unknown'): Classified {
  return { kind: 'other', family, description }
}

/** A UNet in LDM's layout, `model.diffusion_model.input_blocks`, with the other parts of the model. */
function originalLayout(tensors: Tensors, some: (pattern: RegExp) => boolean): Classified | undefined {
  if (!some(/^model(\.diffusion_model\.|_ema\.diffusion_model)(input|output)_blocks/)) return undefined
  const label = some(/^model\.diffusion_model\.label_emb\./)
  const context = familyOfContext(tensors)
  const family = some(/^cond_stage_model\.model\./) ? 'sd2' : context === 'sd1' && label ? 'sdxl' : context
  const description = family === 'unknown' ? 'a model of an unknown family' : families[family].name
  if (family !== 'sd1') return { kind: 'model', family, description }
  if (!some(/^cond_stage_model\.transformer\./)) {
    return other(`a UNet of ${description} without its text encoder`, family)
  }
  return { kind: 'model', family, description }
}

/** Stable Diffusion 3 has as many. */
const latentChannelsOfFlux = 16

/** A file with a single part of a model. */
function partAlone(tensors: Tensors, some: (pattern: RegExp) => boolean): Classified | undefined {
  const latent = ['', 'first_stage_model.', 'vae.']
    .map((prefix) => tensors.get(`${prefix}decoder.conv_in.weight`))
    .find((tensor) => tensor !== undefined)
  if (latent && !some(/^(cond_stage_model|model)\./)) {
    // SDXL's VAE has the keys and shapes of SD 1.x's; only its scaling factor differs, which is not in the weights
    const channels = latent.shape[1] ?? 0
    if (channels < latentChannelsOfFlux) return { kind: 'vae', family: 'sd1', description: 'a VAE' }
    return { kind: 'vae', family: 'unknown', description: `a VAE with ${channels} latent channels` }
  }
  if (some(/^(down_blocks|input_blocks|unet)\./)) {
    const family = familyOfContext(tensors)
    return other(`a UNet of ${families[family].name} without text encoder and VAE`, family)
  }
  if (some(/^(text_model\.|encoder\.(block|layers)\.|transformer\.resblocks\.|shared\.weight$)/)) {
    return other('only a text encoder')
  }
  return undefined
}

function unknown(keys: readonly string[]): Classified {
  const first = keys.slice(0, 3).map((key) => key.slice(0, 100))
  return other(
    keys.length === 0 ? 'a file without tensors' : `of an unknown kind (first keys: ${first.join(', ')})`,
  )
}

/** The width of the text states that a UNet takes identifies the family. */
function familyOfContext(tensors: Tensors): Family {
  for (const [key, { shape }] of tensors) {
    if (/attn2\.?to_k\.?weight$/.test(key)) return familyOfWidth(shape[1])
  }
  return 'unknown'
}

/** The width of the vectors [n, width] in A1111's format, or in SDXL's, which has two widths. */
function embeddingWidth(tensors: Tensors): number | undefined {
  if (tensors.has('clip_g')) return families.sdxl.textWidth
  return (tensors.get('emb_params') ?? tensors.get('string_to_param.*'))?.shape.at(-1)
}

/** diffusers' format of an embedding: one tensor [width] or [n, width], named after the concept. */
function namedByConcept(tensors: Tensors): Classified | undefined {
  const [only] = tensors.values()
  if (tensors.size !== 1 || !only || /\.(weight|bias)$/.test(only.key)) return undefined
  const { shape } = only
  const few = shape.length === 1 || (shape.length === 2 && (shape[0] as number) <= 100)
  return few ? named('embedding', familyOfWidth(shape.at(-1)), 'an embedding') : undefined
}
