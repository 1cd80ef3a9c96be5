import { CheckpointError, refused } from '../errors.ts'
import { multipleOf, type UpscalerConfig, upscalerGraph } from '../models/upscaler.ts'
import { foreignName } from '../safetensors/foreign-file.ts'
import {
  isFloat,
  openSafetensors,
  type SafetensorsFile,
  type StoredTensor,
} from '../safetensors/safetensors.ts'
import { classify } from './family.ts'
import { refusal } from './kinds.ts'
import { incomplete } from './part-view.ts'
import { withoutWrapper } from './upscaler-keys.ts'
import { Weights } from './weights.ts'

/** A network that enlarges pictures. Its tensors have the names of BasicSR and Real-ESRGAN. */
export interface UpscalerFile {
  readonly config: UpscalerConfig
  readonly file: SafetensorsFile
}

/** Bounds for files of strangers; the largest known has 23 blocks. */
const mostBlocks = 200
const mostScale = 8

/** @throws CheckpointError naming the file and what is wrong with it */
export async function openUpscalerFile(path: string): Promise<UpscalerFile> {
  const foreign = foreignName(path)
  if (foreign) throw refused(path, foreign)
  return upscalerOf(path, await openSafetensors(path))
}

/** @param path as it was given, for messages @throws CheckpointError */
export function upscalerOf(path: string, file: SafetensorsFile): UpscalerFile {
  const fault = refusal('upscaler', classify(file.tensors))
  if (fault !== undefined) throw refused(path, fault)
  const tensors = new Map<string, StoredTensor>()
  for (const [key, tensor] of withoutWrapper(file.tensors)) {
    if (!isFloat(tensor.dtype)) {
      throw refused(path, `its weights are stored as ${tensor.dtype}; F32, F16, BF16 and F64 are supported`)
    }
    tensors.set(key, tensor)
  }
  const compact = !tensors.has('conv_first.weight') && !tensors.has('model.0.weight')
  const config = compact ? compactConfig(path, tensors) : undefined
  if (config !== undefined) return checked(config, { ...file, tensors })
  const renamed = withBasicNames(tensors)
  return checked(denseConfig(path, renamed), { ...file, tensors: renamed })
}

/** Every key and shape is. */
function checked(config: UpscalerConfig, file: SafetensorsFile): UpscalerFile {
  const side = multipleOf(config)
  upscalerGraph(config, new Weights(file), side, side)
  return { config, file }
}

type Tensors = ReadonlyMap<string, StoredTensor>

function compactConfig(path: string, tensors: Tensors): UpscalerConfig {
  const last = count((layer) => tensors.has(`body.${2 * layer}.weight`)) - 1
  const [features, input] = shapeOf(path, tensors, 'body.0.weight')
  const [outputs] = shapeOf(path, tensors, `body.${2 * last}.weight`)
  if (last < 1 || !tensors.has('body.1.weight')) {
    throw refused(
      path,
      'this is an SRVGG upscaler whose layers have no slopes (PReLU), which is not supported',
    )
  }
  checkChannels(path, input, 3)
  const scale = Math.sqrt((outputs as number) / 3)
  checkScale(path, scale)
  return { kind: 'srvgg', features: features as number, convolutions: last - 1, scale }
}

function denseConfig(path: string, tensors: Tensors): UpscalerConfig {
  const [features, input] = shapeOf(path, tensors, 'conv_first.weight')
  const [growth] = shapeOf(path, tensors, 'body.0.rdb1.conv1.weight')
  const [output] = shapeOf(path, tensors, 'conv_last.weight')
  const square = ([1, 2, 4] as const).find((side) => input === 3 * side ** 2)
  if (square === undefined) checkChannels(path, input, 3)
  checkChannels(path, output, 3)
  const blocks = count((block) => tensors.has(`body.${block}.rdb1.conv1.weight`))
  const doublings = count((step) => tensors.has(`conv_up${step + 1}.weight`))
  checkScale(path, 2 ** doublings / (square ?? 1))
  return {
    kind: 'rrdbnet',
    features: features as number,
    growth: growth as number,
    blocks,
    doublings,
    square: square ?? 1,
  }
}

function checkChannels(path: string, found: number | undefined, wanted: number): void {
  if (found === wanted) return
  throw refused(path, `this is an upscaler of pictures with ${found} channels; only RGB (3) is supported`)
}

function checkScale(path: string, scale: number): void {
  if (Number.isInteger(scale) && scale >= 1 && scale <= mostScale) return
  throw refused(path, `this is an upscaler by ${scale}, which is not supported; 1 to ${mostScale} are`)
}

function count(has: (index: number) => boolean): number {
  let found = 0
  while (found < mostBlocks && has(found)) found += 1
  return found
}

function shapeOf(path: string, tensors: Tensors, key: string): readonly number[] {
  const tensor = tensors.get(key)
  if (tensor?.shape.length === 4) return tensor.shape
  const fault = tensor === undefined ? 'is missing' : `has shape [${tensor.shape.join(', ')}]`
  throw new CheckpointError(`${path}: weight "${tensor?.key ?? key}" ${fault}`, { reason: incomplete })
}

/**
 * Two older ways to name the same layers: as `model.N` in the order of the network, where the last two convolutions are
 * followed by nothing that enlarges, and with `RRDB_trunk`.
 */
function withBasicNames(tensors: Tensors): Map<string, StoredTensor> {
  const numbered = [...tensors.keys()].flatMap((key) => /^model\.(\d+)\.weight$/.exec(key)?.[1] ?? [])
  const order = numbered.map(Number).sort((a, b) => a - b)
  const tail = order.slice(1)
  const tailName = (layer: number) => {
    const [place, after] = [tail.indexOf(layer), tail.length - tail.indexOf(layer)]
    return after === 1 ? 'conv_last' : after === 2 ? 'conv_hr' : `conv_up${place + 1}`
  }
  const nameOf = (key: string) =>
    key
      .replace(/^model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0\./, 'body.$1.rdb$2.conv$3.')
      .replace(/^model\.1\.sub\.\d+\.(weight|bias)$/, 'conv_body.$1')
      .replace(/^model\.0\./, 'conv_first.')
      .replace(/^model\.(\d+)\.(?=weight|bias)/, (_, layer) => `${tailName(Number(layer))}.`)
      .replace(/^RRDB_trunk\.(\d+)\.RDB(\d)\./, 'body.$1.rdb$2.')
      .replace(/^trunk_conv\./, 'conv_body.')
      .replace(/^upconv(\d)\./, 'conv_up$1.')
      .replace(/^HRconv\./, 'conv_hr.')
  return new Map([...tensors].map(([key, tensor]) => [nameOf(key), tensor]))
}
