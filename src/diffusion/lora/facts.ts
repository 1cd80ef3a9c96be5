import type { Architecture } from '../checkpoint/architecture.ts'
import { type Family, families, familyAt, familyOfWidth } from '../checkpoint/families.ts'
import type { StoredTensor } from '../safetensors/safetensors.ts'
import { type LoraTensors, layersOfFile } from './keys.ts'

/** What a LoRA file is, by its header alone. Texts are for people: without names of tensors and without paths. */
export interface LoraFacts {
  /** With its article, for sentences: "a LoRA", "a LoHa". */
  readonly noun: string
  readonly family: Family
  /** Of the text states that its cross-attention layers take; undefined if it changes none of them. */
  readonly contextWidth: number | undefined
  /** Of the layers of the text encoder that it changes; undefined if it changes none. */
  readonly textWidth: number | undefined
  /** Why no model can use it, to follow "this is "; undefined if models that fit can. */
  readonly problem: string | undefined
  /** How many of its tensors are ignored, since no picture depends on them. */
  readonly passedOver: number
}

/** The widths of a model that a LoRA is compared with. */
export interface ModelWidths {
  /** Of the text states that its UNet takes. */
  readonly contextWidth: number
  /** Of its text encoder. */
  readonly textWidth: number
}

export function widthsOf({ text, unet }: Pick<Architecture, 'text' | 'unet'>): ModelWidths {
  return { contextWidth: unet.cross_attention_dim, textWidth: text.hidden_size }
}

/** Names that only other families' layers have. */
const foreignFamilies: readonly (readonly [Family, RegExp])[] = [
  ['sdxl', /^(lora_te2_|text_encoder_2\.|text_encoders\.clip_g\.)/],
  ['sd3', /joint_(transformer_)?blocks|attn[._]add_q_proj|^lora_te3_|^text_encoder_3\./],
  ['flux', /(double|single)_(transformer_)?blocks_?/],
  ['wan', /^(diffusion_model\.|lora_unet_)blocks[._]\d+[._](cross|self)_attn/],
  ['unknown', /^(lora_)?transformer[._]|^lycoris_transformer|^lora_prior_/],
]

/** Files that look like a LoRA, and what they are. */
const foreignKinds: readonly (readonly [RegExp, string])[] = [
  [/(^|[._])motion_modules[._]/, 'a motion LoRA of AnimateDiff, which changes videos only'],
  [
    /^(bundle_emb\.|string_to_param\.|emb_params$|clip_[lg]$)/,
    'a LoRA with embeddings in it; save the embeddings as files of their own',
  ],
  [/\.(oft_|boft_)|^(oft|boft)_/, 'an OFT (rotations of weights), which is not supported'],
  [/\.[ab][12](\.default)?\.weight$/, 'a GLoRA, which is not supported'],
  [/\.on_input$|[._]ia3_/, 'an IA3 (scales of activations), which is not supported'],
  [
    /\.(vera_|randlora_|hra_|fourierft_|lora_embedding_)/,
    'an adapter of PEFT that is no LoRA, which is not supported',
  ],
  [
    /\.(set_weight|reshape_weight|lora_key|bias_indices|lora_(A|down)\.(.+\.)?bias)/,
    'a LoRA that replaces or reshapes weights, which is not supported',
  ],
  [/^(lora_vae_|vae\.|first_stage_model\.)/, 'a LoRA that also changes the VAE, which is not supported'],
]

const pair =
  /[._](lora_(up|down|mid|A|B|linear_layer)\b|hada_w[12]|lokr_w[12]|lora\.(up|down)\.|b?oft_|(diff|diff_b|[wb]_norm)$)/
const own = /^(lora_(unet|te\d?)_|lycoris_|(oft|boft)_(unet|te)_|base_model\.model\.)/

/** Undefined if the file is not a LoRA or one of its relatives. */
export function loraFacts(tensors: ReadonlyMap<string, StoredTensor>): LoraFacts | undefined {
  const keys = [...tensors.keys()]
  if (!keys.some((key) => pair.test(key) || own.test(key))) return undefined
  const { layers, unknown, passedOver } = layersOfFile(tensors)
  const foreign = foreignFamilies.find(([, pattern]) => keys.some((key) => pattern.test(key)))
  const kind = foreignKinds.find(([pattern]) => keys.some((key) => pattern.test(key)))
  const contextWidth = widthOf(layers, /attn2[._](processor[._])?to_[kv]$/)
  const textWidth = widthOf(layers, /self_attn[._](to_)?q(_proj)?$/)
  const width = contextWidth ?? textWidth
  const noun = nounOf(layers)
  return {
    noun,
    family: foreign?.[0] ?? (width === undefined ? 'sd1' : familyOfWidth(width)),
    contextWidth,
    textWidth,
    passedOver,
    problem:
      kind?.[1] ?? (unknown.length === 0 ? undefined : `${noun} with parts of a kind that is not known`),
  }
}

/** Why a LoRA cannot be used with a model, to follow its name; undefined if their widths agree. */
export function misfit(
  facts: Pick<LoraFacts, 'contextWidth' | 'textWidth'>,
  model: ModelWidths,
): string | undefined {
  for (const [part, given, own] of [
    ['text states are', facts.contextWidth, model.contextWidth],
    ['text encoder is', facts.textWidth, model.textWidth],
  ] as const) {
    if (given === undefined || given === own) continue
    const family = familyAt(given)
    const made = family === undefined ? 'another model' : families[family].name
    return `is made for ${made}, whose ${part} ${given} wide; this model's ${part} ${own} wide`
  }
  return undefined
}

function nounOf(layers: ReadonlyMap<string, LoraTensors>): string {
  const all = [...layers.values()]
  if (all.some(({ dora_scale, magnitude }) => dora_scale ?? magnitude)) return 'a DoRA'
  if (all.some(({ hada_w1_a }) => hada_w1_a)) return 'a LoHa'
  if (all.some(({ lokr_w1, lokr_w1_a }) => lokr_w1 ?? lokr_w1_a)) return 'a LoKr'
  return 'a LoRA'
}

/** What the layers of a name take: the first whose tensors show it. */
function widthOf(layers: ReadonlyMap<string, LoraTensors>, name: RegExp): number | undefined {
  for (const [layer, tensors] of layers) {
    const width = name.test(layer) ? inputsOf(tensors) : undefined
    if (width !== undefined) return width
  }
  return undefined
}

function inputsOf({
  down,
  hada_w1_b,
  lokr_w1,
  lokr_w1_b,
  lokr_w2,
  lokr_w2_b,
  diff,
}: LoraTensors): number | undefined {
  const columns = (tensor: StoredTensor | undefined) => tensor?.shape[1]
  const outer = columns(lokr_w1 ?? lokr_w1_b)
  const inner = columns(lokr_w2 ?? lokr_w2_b)
  if (outer !== undefined && inner !== undefined) return outer * inner
  return columns(down ?? hada_w1_b ?? diff)
}
