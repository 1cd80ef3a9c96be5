import { basename, dirname, join } from 'node:path'
import { ConfigFile } from '../config-file.ts'
import { type CheckpointError, refused } from '../errors.ts'
import type { SafetensorsFile } from '../safetensors/safetensors.ts'
import type { LoraPart, TargetLayer } from './names.ts'
import { firstMatches } from './patterns.ts'

type Fields = Readonly<Record<string, unknown>>

/**
 * PEFT's LoraConfig: alpha is there and not among the tensors. diffusers writes it as JSON into the file's metadata,
 * PEFT into adapter_config.json beside adapter_model.safetensors. In a file without either, alpha = rank.
 */
export class AdapterConfig {
  readonly #source: string
  readonly #parts: Readonly<Record<LoraPart, Fields>>

  private constructor(source: string, parts: Readonly<Record<LoraPart, Fields>>) {
    this.#source = source
    this.#parts = parts
  }

  /** @throws CheckpointError if the metadata is damaged */
  static async of(path: string, { metadata }: Pick<SafetensorsFile, 'metadata'>): Promise<AdapterConfig> {
    const text = metadata.get('lora_adapter_metadata')
    if (text !== undefined) {
      const source = `${path} (lora_adapter_metadata)`
      const fields = ConfigFile.parse(source, text).fields
      return new AdapterConfig(source, { unet: under('unet', fields), text: under('text_encoder', fields) })
    }
    if (basename(path) !== 'adapter_model.safetensors') return new AdapterConfig(path, { unet: {}, text: {} })
    const source = join(dirname(path), 'adapter_config.json')
    const { fields } = await ConfigFile.readIfPresent(source)
    return new AdapterConfig(source, { unet: fields, text: fields })
  }

  /**
   * The alphas of the layers and the ranks that they are divided by, by what the config says.
   * @throws CheckpointError if an alpha is not a number, or a pattern not a regular expression
   */
  scales(layers: readonly TargetLayer[]): (layer: TargetLayer, rank: number) => number {
    const own = new Map<TargetLayer, unknown>()
    for (const part of ['text', 'unet'] as const) {
      const of = layers.filter((layer) => layer.part === part)
      const patterns = Object.entries((this.#parts[part].alpha_pattern as object | null | undefined) ?? {})
      const matches = this.#match(
        patterns.map(([pattern]) => pattern),
        of.map(({ key }) => key),
      )
      for (const [index, layer] of of.entries()) own.set(layer, patterns[matches[index] as number]?.[1])
    }
    return (layer, rank) => {
      const fields = this.#parts[layer.part]
      const alpha: unknown = own.get(layer) ?? fields.lora_alpha ?? fields.alpha ?? rank
      if (typeof alpha !== 'number' || !Number.isFinite(alpha))
        throw this.#fault(`alpha ${JSON.stringify(alpha)}`)
      return alpha / (fields.use_rslora === true ? Math.sqrt(rank) : rank)
    }
  }

  #match(patterns: readonly string[], names: readonly string[]): readonly number[] {
    try {
      return firstMatches(patterns, names)
    } catch (cause) {
      throw this.#fault('an alpha_pattern that cannot be matched', cause)
    }
  }

  #fault(what: string, cause?: unknown): CheckpointError {
    return refused(this.#source, `the settings of the LoRA have ${what}`, cause)
  }
}

function under(prefix: string, fields: Fields): Fields {
  const own = Object.entries(fields).filter(([name]) => name.startsWith(`${prefix}.`))
  return Object.fromEntries(own.map(([name, value]) => [name.slice(prefix.length + 1), value]))
}
