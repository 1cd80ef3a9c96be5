import type { StoredTensor } from '../safetensors/safetensors.ts'

/**
 * The tensors of a LoRA file by what they are. Trainers end the names in different ways; what stands before is the name
 * of a layer (see `LayerNames`).
 */

/** What a tensor is within its layer. */
type LoraRole = (typeof roleNames)[number]

const roleNames = [
  // two matrices: https://arxiv.org/abs/2106.09685, with LyCORIS' small convolution between them
  'down',
  'up',
  'mid',
  'up_bias',
  // a Hadamard product of two such pairs: https://arxiv.org/abs/2108.06098
  'hada_w1_a',
  'hada_w1_b',
  'hada_w2_a',
  'hada_w2_b',
  'hada_t1',
  'hada_t2',
  // a Kronecker product: https://arxiv.org/abs/2309.14859
  'lokr_w1',
  'lokr_w1_a',
  'lokr_w1_b',
  'lokr_w2',
  'lokr_w2_a',
  'lokr_w2_b',
  'lokr_t2',
  // the sizes of rows or columns: https://arxiv.org/abs/2402.09353
  'dora_scale',
  'magnitude',
  // differences of weights and biases as they are, of norms too
  'diff',
  'diff_b',
  'alpha',
  'scalar',
] as const

/** The tensors of one layer. */
export type LoraTensors = Partial<Record<LoraRole, StoredTensor>>

/** Matrices of kohya and LyCORIS, of PEFT (which may put an adapter's name last), and the two forms before PEFT. */
const endings: readonly (readonly [RegExp, Readonly<Record<string, LoraRole>>])[] = [
  [/^(.+)\.lora_(B|up)(?:\.[^.]+)??\.bias$/, { B: 'up_bias', up: 'up_bias' }],
  [/^(.+?)(?:_lora|\.lora(?:_linear_layer)?)\.(alpha)$/, { alpha: 'alpha' }],
  [/^(.+)\.lora_(down|up|mid)(?:\.weight)?$/, { down: 'down', up: 'up', mid: 'mid' }],
  [/^(.+)\.lora_(A|B)(?:\.[^.]+)??(?:\.weight)?$/, { A: 'down', B: 'up' }],
  [/^(.+)\.lora(?:_linear_layer)?\.(down|up)\.weight$/, { down: 'down', up: 'up' }],
  [/^(.+)_lora\.(down|up)\.weight$/, { down: 'down', up: 'up' }],
  [
    /^(.+)\.(lora_magnitude_vector|magnitude)(?:\.[^.]+)??(?:\.weight)?$/,
    { lora_magnitude_vector: 'magnitude', magnitude: 'magnitude' },
  ],
  [/^(.+)\.(w_norm|b_norm)$/, { w_norm: 'diff', b_norm: 'diff_b' }],
  [
    /^(.+)\.((?:hada|lokr)_\w+|dora_scale|diff|diff_b|alpha|scalar)(?:\.weight)?$/,
    Object.fromEntries(roleNames.map((role) => [role, role])),
  ],
]

/** Keys that no picture depends on: counters, training's own settings, and CLIP's projection, which SD 1.x leaves out. */
const harmless =
  /(^|\.)(global_step|epoch|num_updates|position_ids)$|^(lora_te1?_|te1?\.|text_encoder\.|text_encoders\.(clip_l\.)?|clip_l\.)(transformer\.)?(text_projection|logit_scale)\b/

/** A file's tensors by layer; `unknown` are the keys that are none of a LoRA's. */
export interface LoraLayers {
  /** By the layer's name in the file. */
  readonly layers: ReadonlyMap<string, LoraTensors>
  readonly unknown: readonly string[]
  /** How many tensors were left out because no picture depends on them. */
  readonly passedOver: number
  /** Two keys for one tensor of a layer. */
  readonly twice: readonly (readonly [string, string])[]
}

/** Sorts a file's tensors; those that no picture depends on are left out. Looks at names only. */
export function layersOfFile(tensors: ReadonlyMap<string, StoredTensor>): LoraLayers {
  const layers = new Map<string, LoraTensors>()
  const unknown: string[] = []
  let passedOver = 0
  const twice: [string, string][] = []
  for (const [key, tensor] of tensors) {
    if (harmless.test(key)) {
      passedOver += 1
      continue
    }
    const found = roleOf(key)
    if (found === undefined) {
      unknown.push(key)
      continue
    }
    const group = layers.get(found.layer) ?? {}
    const known = group[found.role]
    if (known) twice.push([known.key, key])
    else layers.set(found.layer, Object.assign(group, { [found.role]: tensor }))
  }
  return { layers, unknown, twice, passedOver }
}

function roleOf(key: string): { readonly layer: string; readonly role: LoraRole } | undefined {
  for (const [pattern, roles] of endings) {
    const [, layer, name] = pattern.exec(key) ?? []
    const role = name === undefined || !Object.hasOwn(roles, name) ? undefined : roles[name]
    if (layer !== undefined && role !== undefined) return { layer, role }
  }
  return undefined
}
