import { basename, extname } from 'node:path'
import { families } from '../checkpoint/families.ts'
import { CheckpointError } from '../errors.ts'
import { foreignName } from '../safetensors/foreign-file.ts'
import { openSafetensors, type SafetensorsFile, type StoredTensor } from '../safetensors/safetensors.ts'
import { AdapterConfig } from './adapter-config.ts'
import { loraFacts, misfit, widthsOf } from './facts.ts'
import { type LoraTensors, layersOfFile } from './keys.ts'
import { LayerNames, type LoraPart, type LoraTarget, type TargetLayer } from './names.ts'
import { deltaSize } from './shapes.ts'

/** What a LoRA changes of one layer. */
export interface LoraLayer {
  /** The layer's key in the model, without `.weight`. */
  readonly key: string
  /** The shape of the layer's weight. */
  readonly shape: readonly number[]
  /** As they are stored; their shapes fit each other and the layer. */
  readonly tensors: LoraTensors
  /** What alpha is divided by; undefined if alpha does not count. */
  readonly rank: number | undefined
  /** Alpha / rank by the file's metadata, for a layer without an alpha of its own. */
  readonly scale: number
}

/** The header of a LoRA, read for one model. Its numbers are read when it is applied: see `planLoras`. */
export interface Lora {
  /** The file's name without its extension, as prompts refer to it. */
  readonly name: string
  readonly path: string
  readonly file: SafetensorsFile
  readonly layers: Readonly<Record<LoraPart, readonly LoraLayer[]>>
}

/**
 * Reads the header of a LoRA and finds each of its layers in the model: if this succeeds, the LoRA can be used with it.
 * @throws CheckpointError saying what the file is or why it does not fit; its cause names the tensor
 */
export async function openLora(path: string, model: LoraTarget): Promise<Lora> {
  const foreign = foreignName(path)
  if (foreign) throw new CheckpointError(`${path}: ${foreign}`)
  const file = await openSafetensors(path)
  const facts = loraFacts(file.tensors)
  if (facts === undefined) throw new CheckpointError(`${path}: this is not a LoRA`)
  const { layers: found, unknown, twice } = layersOfFile(file.tensors)
  if (facts.problem !== undefined)
    throw fault(path, `this is ${facts.problem}`, unknown.slice(0, 3).join(', '))
  const unfit = misfit(facts, widthsOf(model.architecture))
  if (unfit !== undefined) throw new CheckpointError(`${path}: the LoRA ${unfit}`)
  if (facts.family !== 'sd1')
    throw new CheckpointError(`${path}: the LoRA is made for ${families[facts.family].name}`)
  const [double] = twice
  if (double) throw fault(path, ambiguous, `"${double[0]}" and "${double[1]}" are the same tensor`)
  const config = await AdapterConfig.of(path, file)
  const targets = targetsOf(path, found, model)
  const scales = config.scales([...targets.values()])
  const layers = { text: [] as LoraLayer[], unet: [] as LoraLayer[] }
  for (const [name, target] of targets) {
    const tensors = found.get(name) as LoraTensors
    layers[target.part].push(checkedLayer(path, name, tensors, target, model, (rank) => scales(target, rank)))
  }
  return { name: basename(path, extname(path)), path, file, layers }
}

const ambiguous = 'the file has several LoRAs in it; use one that has a single LoRA'

function fault(path: string, what: string, detail: string): CheckpointError {
  return new CheckpointError(`${path}: ${what}`, { cause: new Error(detail) })
}

/** The layer of the model for each layer of the file, by its name there. */
function targetsOf(
  path: string,
  found: ReadonlyMap<string, LoraTensors>,
  model: LoraTarget,
): Map<string, TargetLayer> {
  const names = new LayerNames(model)
  const targets = new Map<string, TargetLayer>()
  const seen = new Map<TargetLayer, string>()
  for (const name of found.keys()) {
    const target = names.find(name)
    if (!target)
      throw fault(path, 'the LoRA changes layers that this model does not have', `no layer for "${name}"`)
    const other = seen.get(target)
    if (other !== undefined) throw fault(path, ambiguous, `"${other}" and "${name}" are the same layer`)
    seen.set(target, name)
    targets.set(name, target)
  }
  if (targets.size === 0)
    throw new CheckpointError(`${path}: the LoRA changes nothing that pictures depend on`)
  return targets
}

function checkedLayer(
  path: string,
  name: string,
  tensors: LoraTensors,
  { part, key, shape }: TargetLayer,
  model: LoraTarget,
  scaleOf: (rank: number) => number,
): LoraLayer {
  const misshapen = (detail: string) => {
    const parts = Object.values(tensors).map((tensor) => `"${tensor.key}" [${tensor.shape.join(', ')}]`)
    const detailed = `layer "${name}" of ${shape.join(' x ')}: ${detail}: ${parts.join(', ')}`
    return fault(path, 'the LoRA has matrices of sizes that this model does not have', detailed)
  }
  const { alpha, scalar, diff_b, up_bias, dora_scale, magnitude, ...weights } = tensors
  const size = deltaSize(tensors)
  if (Object.keys(weights).length > 0 && size === undefined)
    throw misshapen('the matrices do not fit each other')
  const [rows, channels, ...kernel] = shape as [number, ...number[]]
  const pixels = kernel.reduce((product, dim) => product * dim, 1)
  // an inpainting model takes more channels in its first layer than the model that the LoRA was trained on
  const fewer = key === 'conv_in' && part === 'unet' ? model.architecture.unet.out_channels : channels
  const columns = [channels, fewer].map((count) => (count ?? 1) * pixels)
  const forInpainting = key === 'conv_in' && (2 * (channels as number) + 1) * pixels
  if (size && size.columns === forInpainting && channels === fewer) {
    throw fault(path, 'the LoRA is made for inpainting models', `layer "${name}"`)
  }
  if (size && (size.rows !== rows || !columns.includes(size.columns)))
    throw misshapen(`${size.rows} x ${size.columns}`)
  for (const one of [alpha, scalar])
    if (one?.shape.some((dim) => dim !== 1)) throw misshapen('alpha is not one number')
  for (const bias of [diff_b, up_bias]) {
    const place = model[part].tensors.get(`${key}.bias`)
    if (bias && (elements(bias) !== rows || !place)) throw misshapen('the bias does not fit')
  }
  const magnitudes = dora_scale ?? magnitude
  if (magnitudes && (!size || ![rows, ...(dora_scale ? [channels] : [])].includes(elements(magnitudes))))
    throw misshapen('magnitudes')
  if (!size && !diff_b) throw misshapen('nothing is changed')
  const rank = size?.rank
  return { key, shape, tensors, rank, scale: rank === undefined ? 1 : scaleOf(rank) }
}

function elements({ shape }: StoredTensor): number {
  return shape.reduce((product, dim) => product * dim, 1)
}
