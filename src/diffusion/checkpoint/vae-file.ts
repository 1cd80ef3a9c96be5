import { refused } from '../errors.ts'
import type { VaeConfig } from '../models/vae.ts'
import { foreignName } from '../safetensors/foreign-file.ts'
import { openSafetensors, type SafetensorsFile } from '../safetensors/safetensors.ts'
import { classify } from './family.ts'
import { refusal } from './kinds.ts'
import { type KeyPair, vaeDecoderKeys, vaeEncoderKeys } from './ldm-keys.ts'
import { checkLeftOver, type Find, hasLayer, partOf, view } from './part-view.ts'
import { statedArchitecture, vaeConfig } from './single-file-architecture.ts'

/** A VAE, either a separate file or part of a checkpoint. */
export interface Vae {
  readonly config: VaeConfig
  /** Its tensors have diffusers' names. */
  readonly file: SafetensorsFile
}

/** Leftovers of training (LDM's discriminator and moving average), and whatever is in neither half of the VAE. */
const harmless = [
  /^(first_stage_model\.|vae\.)?(loss|model_ema)\./,
  /^(?!(first_stage_model\.|vae\.)?(encoder|decoder|quant_conv|post_quant_conv)\.)/,
]

/**
 * Opens a file that contains only a VAE, with encoder and decoder, in the original layout or in diffusers', its keys
 * with or without the prefix `first_stage_model.` or `vae.`.
 * @throws CheckpointError naming the file and what is wrong with it
 */
export async function openVaeFile(path: string): Promise<Vae> {
  const foreign = foreignName(path)
  if (foreign) throw refused(path, foreign)
  return vaeOf(path, await openSafetensors(path))
}

/** @param path as it was given, for messages @throws CheckpointError */
export function vaeOf(path: string, file: SafetensorsFile): Vae {
  const fault = refusal('vae', classify(file.tensors))
  if (fault !== undefined) throw refused(path, fault)
  const prefixes = ['first_stage_model.', 'vae.']
  const prefix = prefixes.find((begin) => file.tensors.has(`${begin}decoder.conv_in.weight`)) ?? ''
  const source = partOf(file, (name) => prefix + name)
  if (!hasLayer(source, 'encoder.conv_in')) {
    throw refused(path, 'the VAE has no encoder; a VAE file must contain encoder and decoder')
  }
  const diffusers = hasLayer(source, 'decoder.mid_block.resnets.0.conv1')
  const find = diffusers ? byOriginalName(source.find) : source.find
  const config = vaeConfig({ ...source, find }, statedArchitecture(file))
  const keys = [...vaeDecoderKeys(config), ...vaeEncoderKeys(config)]
  const used = new Set<string>()
  const part = view(file, source, diffusers ? diffusersKeys(keys, source.find) : keys, used)
  checkLeftOver(file, used, harmless)
  return { config, file: part }
}

/** Makes the architecture readable from a file in diffusers' layout, which numbers the decoder's levels in reverse. */
function byOriginalName(find: Find): Find {
  let levels = 0
  while (hasLayer({ find }, `decoder.up_blocks.${levels}.resnets.0.conv1`)) levels += 1
  return (name) => {
    const [, level, rest] = /^decoder\.up\.(\d+)\.block\.(.+)$/.exec(name) ?? []
    return find(rest ? `decoder.up_blocks.${levels - 1 - Number(level)}.resnets.${rest}` : name)
  }
}

const namesBefore018 = { to_q: 'query', to_k: 'key', to_v: 'value', 'to_out.0': 'proj_attn' }

/** Checkpoints from before diffusers 0.18 name the attention projections differently. */
function diffusersKeys(keys: readonly KeyPair[], find: Find): KeyPair[] {
  const old = hasLayer({ find }, 'decoder.mid_block.attentions.0.query')
  return keys.map(([name]) => {
    const [, begin, projection, end] = /^(.+attentions\.0\.)(to_(?:q|k|v|out\.0))(\..+)$/.exec(name) ?? []
    const renamed = namesBefore018[projection as keyof typeof namesBefore018]
    return [name, old && renamed ? `${begin}${renamed}${end}` : name]
  })
}
