import { refused } from '../errors.ts'
import { tinyScale } from '../models/taesd.ts'
import { foreignName } from '../safetensors/foreign-file.ts'
import {
  isFloat,
  openSafetensors,
  type SafetensorsFile,
  type StoredTensor,
} from '../safetensors/safetensors.ts'
import type { VaeSizes } from './add-on-sizes.ts'
import { classify } from './family.ts'
import { refusal } from './kinds.ts'
import { Weights } from './weights.ts'

/** A TAESD. Its tensors have diffusers' names. */
export interface TinyVae {
  readonly sizes: VaeSizes
  /** A file of TAESD's own has one half of it. */
  readonly encoder: boolean
  readonly file: SafetensorsFile
}

/** @throws CheckpointError naming the file and what is wrong with it */
export async function openTinyVaeFile(path: string): Promise<TinyVae> {
  const foreign = foreignName(path)
  if (foreign) throw refused(path, foreign)
  return tinyVaeOf(path, await openSafetensors(path))
}

/** @param path as it was given, for messages @throws CheckpointError */
export function tinyVaeOf(path: string, file: SafetensorsFile): TinyVae {
  const fault = refusal('tiny_vae', classify(file.tensors))
  if (fault !== undefined) throw refused(path, fault)
  const tensors = new Map<string, StoredTensor>()
  for (const [key, tensor] of file.tensors) {
    if (!isFloat(tensor.dtype)) {
      throw refused(path, `its weights are stored as ${tensor.dtype}; F32, F16, BF16 and F64 are supported`)
    }
    // its own decoder counts the tanh as a layer, which has no weights
    tensors.set(
      key.replace(/^(\d+)\./, (_, layer) => `decoder.layers.${Number(layer) - 1}.`),
      tensor,
    )
  }
  const first = tensors.get('decoder.layers.0.weight')
  if (first === undefined) {
    throw refused(path, 'this is the encoder of a TAESD; its decoder is needed, or a file with both')
  }
  const view = { ...file, tensors }
  const sizes = { channels: first.shape[1] ?? 0, scale: tinyScale(new Weights(view)) }
  return { sizes, encoder: tensors.has('encoder.layers.0.weight'), file: view }
}
