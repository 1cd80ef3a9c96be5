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

/** A layer of the model; `key` is its key without `.weight`, `shape` its weight's shape. */
export interface TargetLayer {
  readonly part: LoraPart
  readonly key: string
  readonly shape: readonly number[]
}

/** What names begin with, and the part of the model that follows; PEFT's own names do not say the part. */
const prefixes: readonly (readonly [RegExp, LoraPart | undefined])[] = [
  [/^(unet\.base_model\.model\.|lora_unet_|lycoris_|unet\.|(model\.)?diffusion_model\.)/, 'unet'],
  [/^lora_te1?_|^text_encoder\.(base_model\.model\.)?/, 'text'],
  [/^(text_encoders\.(clip_l\.)?|clip_l\.|te1?\.)(transformer\.)?|^cond_stage_model\.transformer\./, 'text'],
  [/^base_model\.model\.(unet\.)?/, undefined],
  [/^/, undefined],
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

  /** @param name as a LoRA file has it, without what tells the tensors of a layer apart */
  find(name: string): TargetLayer | undefined {
    const [prefix, part] = prefixes.find(([pattern]) => pattern.test(name)) as (typeof prefixes)[number]
    const layer = flat(name.replace(prefix, '').replace('.processor.', '.'))
    if (part !== 'text') {
      const found = this.#layers.unet.get(layer)
      if (found || part === 'unet') return found
    }
    return this.#layers.text.get(layer.replace(/^text_model_/, ''))
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

/** Linear layers, convolutions and norms. An embedding table is looked up outside of the graph. */
function layersOf(file: SafetensorsFile, part: LoraPart): TargetLayer[] {
  return [...file.tensors]
    .filter(([key]) => key.endsWith('.weight') && !key.includes('embeddings.'))
    .map(([key, { shape }]) => ({ part, key: key.slice(0, -'.weight'.length), shape }))
}
