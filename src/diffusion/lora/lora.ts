import { basename, extname } from 'node:path'
import { families } from '../checkpoint/families.ts'
import { type CheckpointError, refused } from '../errors.ts'
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
  if (foreign) throw refused(path, foreign)
  const file = await openSafetensors(path)
  const facts = loraFacts(file.tensors)
  if (facts === undefined) throw refused(path, 'this is not a LoRA')
  const { layers: named, unknown, twice } = layersOfFile(file.tensors)
  if (facts.problem !== undefined)
    throw fault(path, `this is ${facts.problem}`, unknown.slice(0, 3).join(', '))
  const unfit = misfit(facts, widthsOf(model.architecture))
  if (unfit !== undefined) throw refused(path, `the LoRA ${unfit}`)
  if (facts.family !== 'sd1') throw refused(path, `the LoRA is made for ${families[facts.family].name}`)
  const [double] = twice
  if (double) throw fault(path, ambiguous, `"${double[0]}" and "${double[1]}" are the same tensor`)
  const config = await AdapterConfig.of(path, file)
  const found = findLayers(path, named, model)
  const scales = config.scales(found.map(({ target }) => target))
  const layers = { text: [] as LoraLayer[], unet: [] as LoraLayer[] }
  for (const each of found) {
    layers[each.target.part].push(checkedLayer(path, each, model, (rank) => scales(each.target, rank)))
  }
  return { name: basename(path, extname(path)), path, file, layers }
}

const ambiguous = 'the file has several LoRAs in it; use one that has a single LoRA'

function fault(path: string, what: string, detail: string): CheckpointError {
  return refused(path, what, new Error(detail))
}

/** A layer of the model and the tensors that change it; `name` is its name in the file. */
interface Found {
  readonly name: string
  readonly target: TargetLayer
  readonly tensors: LoraTensors
}

/** The tensors of a layer may be under several names: some scripts rename all but alphas or the sizes of DoRA. */
function findLayers(path: string, named: ReadonlyMap<string, LoraTensors>, model: LoraTarget): Found[] {
  const names = new LayerNames(model)
  const found = new Map<TargetLayer, Found>()
  for (const [name, tensors] of named) {
    const target = names.find(name)
    if (!target) {
      throw fault(path, 'the LoRA changes layers that this model does not have', `no layer for "${name}"`)
    }
    const other = found.get(target)
    if (other && Object.keys(tensors).some((role) => Object.hasOwn(other.tensors, role))) {
      throw fault(path, ambiguous, `"${other.name}" and "${name}" are the same layer`)
    }
    found.set(target, { name, target, tensors: { ...other?.tensors, ...tensors } })
  }
  // pruned files may keep the alpha of matrices that are gone
  const changing = [...found.values()].filter(({ tensors: { alpha, scalar, ...changes } }) => {
    return Object.keys(changes).length > 0
  })
  if (changing.length === 0) throw refused(path, 'the LoRA changes nothing that pictures depend on')
  return changing
}

function checkedLayer(
  path: string,
  { name, target: { part, key, shape }, tensors }: Found,
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
  for (const sizes of [dora_scale, magnitude]) {
    if (sizes && (!size || !sizesFit(sizes, rows, channels ?? 1)))
      throw misshapen('the sizes of DoRA do not fit')
  }
  if (!size && !diff_b) throw misshapen('nothing is changed')
  const rank = size?.rank
  return { key, shape, tensors, rank, scale: rank === undefined ? 1 : scaleOf(rank) }
}

/** One for each output in any shape; or one for each input, as a row. */
function sizesFit(sizes: StoredTensor, rows: number, channels: number): boolean {
  const row = sizes.shape.length > 1 && sizes.shape[0] === 1
  return row && sizes.key.endsWith('dora_scale') ? elements(sizes) === channels : elements(sizes) === rows
}

function elements({ shape }: StoredTensor): number {
  return shape.reduce((product, dim) => product * dim, 1)
}
