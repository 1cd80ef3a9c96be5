import type { Architecture } from '../checkpoint/architecture.ts'
import { unetKeys } from '../checkpoint/ldm-keys.ts'
import { CheckpointError } from '../errors.ts'
import type { SafetensorsFile } from '../safetensors/safetensors.ts'

/**
 * The names of a LoRA's tensors. Trainers flatten a module's path in different ways, and a name whose only separators
 * are underscores cannot be split again ("to_out_0": two names or three?), so the modules of the model are flattened
 * in the same way and the name is looked up among them.
 */

export type LoraPart = 'text' | 'unet'

/** The parts of a model that a LoRA is made for. */
export interface LoraTarget {
  readonly architecture: Pick<Architecture, 'text' | 'unet'>
  readonly text: SafetensorsFile
  readonly unet: SafetensorsFile
}

export type LoraRole = 'down' | 'up' | 'mid' | 'alpha'

/** A layer of the model; `key` is its key without `.weight`, `shape` its weight's shape. */
export interface TargetLayer {
  readonly part: LoraPart
  readonly key: string
  readonly shape: readonly number[]
}

/** The conventions of kohya and LyCORIS, of PEFT, and the two that diffusers used before PEFT. */
const roles: readonly [RegExp, Readonly<Record<string, LoraRole>>][] = [
  [/^(.+)\.lora_(down|up|mid)\.weight$/, { down: 'down', up: 'up', mid: 'mid' }],
  [/^(.+)\.(alpha)$/, { alpha: 'alpha' }],
  [/^(.+)\.lora_(A|B)(?:\.default)?\.weight$/, { A: 'down', B: 'up' }],
  [/^(.+)\.lora(?:_linear_layer)?\.(down|up)\.weight$/, { down: 'down', up: 'up' }],
  [/^(.+)_lora\.(down|up)\.weight$/, { down: 'down', up: 'up' }],
]

/** Formats that look like a LoRA but are something else. */
const foreign: readonly [RegExp, string][] = [
  [/^lora_te2_|^text_encoder_2\./, 'made for Stable Diffusion XL'],
  [/(double|single)_(transformer_)?blocks_?/, 'made for Flux'],
  [/joint_(transformer_)?blocks|^lora_te3_|^text_encoder_3\./, 'made for Stable Diffusion 3'],
  [/^(lora_)?transformer[._]/, 'made for a diffusion transformer'],
  [/\.hada_/, 'a LoHa (Hadamard products)'],
  [/\.lokr_/, 'a LoKr (Kronecker products)'],
  [/\.dora_scale$|lora_magnitude_vector/, 'a DoRA (weights split into size and direction)'],
  [/\.on_input$/, 'an IA3'],
  [/\.(oft_|boft_)/, 'an OFT (rotations of weights)'],
  [/\.[ab][12]\.weight$/, 'a GLoRA'],
  [
    /\.diff(_b)?$|\.[wb]_norm$|\.lora_(up|down|[AB])\.bias$/,
    'a LoRA that also changes weights or biases directly',
  ],
  [/^bundle_emb\./, 'bundled with embeddings; split the bundle'],
]

/**
 * @returns the layer's name in the file, and which of its tensors this is
 * @throws CheckpointError naming the kind of the file, or the key
 */
export function parseLoraKey(path: string, key: string): { readonly layer: string; readonly role: LoraRole } {
  for (const [pattern, kind] of foreign) {
    if (pattern.test(key)) {
      throw new CheckpointError(
        `${path}: "${key}": this file is ${kind}; only LoRAs of Stable Diffusion 1.x with lora_down and lora_up are supported`,
      )
    }
  }
  for (const [pattern, names] of roles) {
    const [, layer, name] = pattern.exec(key) ?? []
    const role = name === undefined ? undefined : names[name]
    if (layer !== undefined && role !== undefined) return { layer, role }
  }
  throw new CheckpointError(`${path}: "${key}" is not a LoRA tensor; is this a LoRA file?`)
}

const prefixes: readonly [RegExp, LoraPart][] = [
  [/^lora_unet_/, 'unet'],
  [/^lora_te1?_(text_model_)?/, 'text'],
  [/^unet\./, 'unet'],
  [/^text_encoder\.(text_model\.)?/, 'text'],
]

/** Finds the layers of a model by trainers' names for them. */
export class LayerNames {
  readonly #layers = { text: new Map<string, TargetLayer>(), unet: new Map<string, TargetLayer>() }

  /** @throws CheckpointError if two layers of the model would have the same name */
  constructor({ architecture, text, unet }: LoraTarget) {
    for (const layer of layersOf(text, 'text')) {
      const name = flat(layer.key.replace(/^text_model\./, ''))
      this.#add(name, layer)
      // diffusers' first trainer used the UNet's names for all attention layers
      this.#add(name.replace(/self_attn_(\w+)_proj$/, 'self_attn_to_$1'), layer)
    }
    const originalNames = new Map(unetKeys(architecture.unet))
    for (const layer of layersOf(unet, 'unet')) {
      const name = flat(layer.key)
      const original = originalNames.get(`${layer.key}.weight`)
      this.#add(name, layer)
      if (original !== undefined) this.#add(flat(original.slice(0, -'.weight'.length)), layer)
      if (name.endsWith('_to_out_0')) this.#add(name.slice(0, -2), layer)
    }
  }

  /** @param name as returned by `parseLoraKey` */
  find(name: string): TargetLayer | undefined {
    const [prefix, part] = prefixes.find(([pattern]) => pattern.test(name)) ?? [/^/, 'unet' as const]
    return this.#layers[part].get(flat(name.replace(prefix, '').replace('.processor.', '.')))
  }

  #add(name: string, layer: TargetLayer): void {
    const known = this.#layers[layer.part].get(name)
    if (known && known.key !== layer.key) {
      throw new CheckpointError(
        `layers "${known.key}" and "${layer.key}" of the model are both called "${name}"`,
      )
    }
    this.#layers[layer.part].set(name, layer)
  }
}

function flat(name: string): string {
  return name.replaceAll('.', '_')
}

/** Linear layers and convolutions. An embedding table is a matrix too, but not a layer. */
function layersOf(file: SafetensorsFile, part: LoraPart): TargetLayer[] {
  return [...file.tensors]
    .filter(
      ([key, { shape }]) => key.endsWith('.weight') && shape.length >= 2 && !key.includes('embeddings.'),
    )
    .map(([key, { shape }]) => ({ part, key: key.slice(0, -'.weight'.length), shape }))
}
