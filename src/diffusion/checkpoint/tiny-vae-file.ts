import { refused } from '../errors.ts'
import { tinyDecoderGraph, tinyEncoderGraph, tinyScale } from '../models/taesd.ts'
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

/** A TAESD: its decoder, and the encoder if the file has one. Its tensors have diffusers' names. */
export interface TinyVae {
  readonly sizes: VaeSizes
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
  // every key and shape is checked
  tinyDecoderGraph(sizes.channels, new Weights(view), 1, 1)
  if (tensors.has('encoder.layers.0.weight'))
    tinyEncoderGraph(sizes.channels, new Weights(view), sizes.scale, sizes.scale)
  return { sizes, file: view }
}
