import { basename, extname } from 'node:path'
import { CheckpointError } from '../errors.ts'
import { foreignName } from '../safetensors/foreign-file.ts'
import {
  isFloat,
  openSafetensors,
  readRows,
  type SafetensorsFile,
  type StoredTensor,
} from '../safetensors/safetensors.ts'
import { AdapterConfig } from './adapter-config.ts'
import { loraFacts, misfit, widthsOf } from './facts.ts'
import {
  LayerNames,
  type LoraPart,
  type LoraRole,
  type LoraTarget,
  parseLoraKey,
  type TargetLayer,
} from './names.ts'

/** What a LoRA adds to one layer: scale * up(down(x)) (https://arxiv.org/abs/2106.09685). */
export interface LoraLayer {
  /** The layer's key in the model, without `.weight`. */
  readonly key: string
  readonly rank: number
  /** alpha / rank; 1 if the file has no alpha. */
  readonly scale: number
  /** [in], or [in, kernel, kernel] for a convolution larger than 1x1. */
  readonly inner: readonly number[]
  readonly out: number
  /** [rank, ...inner] */
  readonly down: Float32Array
  /** [out, rank] */
  readonly up: Float32Array
}

/** A LoRA in memory, read for one model: the size of its file, or twice that if the file is in half precision. */
export interface Lora {
  /** The file's name without its extension, as prompts refer to it. */
  readonly name: string
  readonly path: string
  readonly layers: Readonly<Record<LoraPart, readonly LoraLayer[]>>
}

/**
 * Reads a LoRA and finds each of its layers in the model.
 * @throws CheckpointError naming the file, and the tensor or layer that does not fit
 */
export async function openLora(path: string, model: LoraTarget): Promise<Lora> {
  const foreign = foreignName(path)
  if (foreign) throw new CheckpointError(`${path}: ${foreign}`)
  const file = await openSafetensors(path)
  const groups = groupByLayer(path, file)
  const facts = loraFacts(file.tensors)
  const unfit = facts?.problem ?? (facts && misfit(facts, widthsOf(model.architecture)))
  if (unfit !== undefined) throw new CheckpointError(`${path}: the LoRA ${unfit}`)
  const names = new LayerNames(model)
  const config = new AdapterConfig(file)
  const layers = { text: [] as LoraLayer[], unet: [] as LoraLayer[] }
  const seen = new Map<string, string>()
  for (const [name, tensors] of groups) {
    const target = names.find(name)
    if (!target)
      throw new CheckpointError(
        `${path}: the model has no layer for "${name}"; is the LoRA for a different family?`,
      )
    const place = `${target.part} ${target.key}`
    const other = seen.get(place)
    if (other !== undefined) throw new CheckpointError(`${path}: "${other}" and "${name}" are the same layer`)
    seen.set(place, name)
    layers[target.part].push(await readLayer(file, name, tensors, target, config))
  }
  return { name: basename(path, extname(path)), path, layers }
}

type Tensors = Partial<Record<LoraRole, StoredTensor>>

function groupByLayer(path: string, file: SafetensorsFile): Map<string, Tensors> {
  const groups = new Map<string, Tensors>()
  for (const [key, tensor] of file.tensors) {
    const { layer, role } = parseLoraKey(path, key)
    const group = groups.get(layer) ?? {}
    if (group[role])
      throw new CheckpointError(`${path}: "${group[role].key}" and "${key}" are the same tensor`)
    groups.set(layer, { ...group, [role]: tensor })
  }
  if (groups.size === 0) throw new CheckpointError(`${path}: the file has no tensors, so it is not a LoRA`)
  return groups
}

async function readLayer(
  file: SafetensorsFile,
  name: string,
  tensors: Tensors,
  target: TargetLayer,
  config: AdapterConfig,
): Promise<LoraLayer> {
  const { down, up, mid, alpha } = tensors
  if (!down || !up) {
    throw new CheckpointError(`${file.path}: layer "${name}" has no ${down ? 'up' : 'down'} matrix`)
  }
  const [out, ...inner] = withoutOnes(target.shape) as [number, ...number[]]
  const rank = down.shape[0] ?? 0
  checkShapes(file.path, name, tensors, { out, inner, rank })
  const read = async (tensor: StoredTensor) => {
    if (!isFloat(tensor.dtype)) {
      throw new CheckpointError(
        `${file.path}: "${tensor.key}" has dtype ${tensor.dtype}; it must be F16, BF16 or F32`,
      )
    }
    const count = tensor.shape.reduce((product, dim) => product * dim, 1)
    const values = await readRows(file, { ...tensor, shape: [1, count] }, [0])
    if (values.every(Number.isFinite)) return values
    throw new CheckpointError(`${file.path}: "${tensor.key}" contains infinite or NaN values`)
  }
  const matrix = await read(down)
  return {
    key: target.key,
    rank,
    scale: alpha ? ((await read(alpha))[0] as number) / rank : config.scale(target.part, target.key, rank),
    inner,
    out,
    down: mid ? through(await read(mid), matrix, rank, inner) : matrix,
    up: await read(up),
  }
}

/** A 1x1 kernel is a matrix. */
function withoutOnes(shape: readonly number[]): readonly number[] {
  return shape.length === 4 && shape[2] === 1 && shape[3] === 1 ? shape.slice(0, 2) : shape
}

interface Sizes {
  readonly out: number
  readonly inner: readonly number[]
  readonly rank: number
}

function checkShapes(
  path: string,
  name: string,
  { down, up, mid, alpha }: Tensors,
  { out, inner, rank }: Sizes,
): void {
  const [channels, ...kernel] = inner as [number, ...number[]]
  const check = (tensor: StoredTensor | undefined, needed: readonly (number | 'rank')[]) => {
    if (!tensor) return
    const shape = needed.map((dim) => (dim === 'rank' ? rank : dim))
    if (rank > 0 && withoutOnes(tensor.shape).join() === shape.join()) return
    throw new CheckpointError(
      `${path}: "${tensor.key}" has shape [${tensor.shape.join(', ')}]; layer "${name}" of the model needs ` +
        `[${needed.join(', ')}], and the rank of its down matrix is ${rank}`,
    )
  }
  check(down, ['rank', channels, ...(mid ? [] : kernel)])
  check(mid, ['rank', 'rank', ...kernel])
  check(up, [out, 'rank'])
  if (alpha?.shape.some((dim) => dim !== 1)) {
    throw new CheckpointError(
      `${path}: "${alpha.key}" has shape [${alpha.shape.join(', ')}]; it must be one number`,
    )
  }
}

/**
 * Merges the small convolution that LyCORIS puts between the two matrices (its "Tucker" form) with `down`.
 * @param mid [rank, rank, ...kernel] @param down [rank, in] @returns [rank, in, ...kernel]
 */
function through(
  mid: Float32Array,
  down: Float32Array,
  rank: number,
  inner: readonly number[],
): Float32Array {
  const [channels, ...kernel] = inner as [number, ...number[]]
  const pixels = kernel.reduce((product, dim) => product * dim, 1)
  const result = new Float32Array(rank * channels * pixels)
  for (let p = 0; p < rank; p++) {
    for (let q = 0; q < rank; q++) {
      for (let c = 0; c < channels; c++) {
        const factor = down[q * channels + c]!
        for (let k = 0; k < pixels; k++) {
          result[(p * channels + c) * pixels + k]! += mid[(p * rank + q) * pixels + k]! * factor
        }
      }
    }
  }
  return result
}
