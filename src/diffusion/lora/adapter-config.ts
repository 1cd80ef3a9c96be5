import { CheckpointError } from '../errors.ts'
import type { SafetensorsFile } from '../safetensors/safetensors.ts'
import type { LoraPart } from './names.ts'

/**
 * PEFT's LoraConfig, which diffusers writes as JSON into the file's metadata: alpha is there and not among the
 * tensors. In a file without it, alpha = rank.
 */
export class AdapterConfig {
  readonly #path: string
  readonly #fields: Readonly<Record<string, unknown>>

  /** @throws CheckpointError if the metadata is damaged, or describes more than a LoRA */
  constructor({ path, metadata }: Pick<SafetensorsFile, 'path' | 'metadata'>) {
    this.#path = path
    const text = metadata.get('lora_adapter_metadata')
    const fields: unknown = text === undefined ? {} : this.#parse(text)
    if (typeof fields !== 'object' || fields === null) throw this.#fault('is not a JSON object')
    this.#fields = fields as Record<string, unknown>
    for (const part of ['unet', 'text_encoder']) {
      if (this.#fields[`${part}.use_dora`] === true)
        throw this.#fault('declares a DoRA; only LoRAs are supported')
    }
  }

  /** alpha / rank of a layer, or what PEFT uses in its place. @throws CheckpointError if alpha is not a number */
  scale(part: LoraPart, key: string, rank: number): number {
    const field = (name: string) => this.#fields[`${part === 'unet' ? 'unet' : 'text_encoder'}.${name}`]
    const patterns = Object.entries((field('alpha_pattern') as object | undefined) ?? {})
    // a pattern matches the end of a layer's name
    const own = patterns.find(([pattern]) => key === pattern || key.endsWith(`.${pattern}`))
    const alpha: unknown = own?.[1] ?? field('lora_alpha') ?? rank
    if (typeof alpha !== 'number') throw this.#fault(`has alpha ${JSON.stringify(alpha)} for "${key}"`)
    return alpha / (field('use_rslora') === true ? Math.sqrt(rank) : rank)
  }

  #parse(text: string): unknown {
    try {
      return JSON.parse(text)
    } catch (cause) {
      throw this.#fault('is not JSON', cause)
    }
  }

  #fault(what: string, cause?: unknown): CheckpointError {
    return new CheckpointError(`${this.#path}: metadata "lora_adapter_metadata" ${what}`, { cause })
  }
}
