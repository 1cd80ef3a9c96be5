import { CheckpointError } from '../errors.ts'
import type { Attention, Precision, WeightSource } from '../graph/graph.ts'
import type { SafetensorsFile, StoredTensor } from '../safetensors/safetensors.ts'

export interface WeightsOptions {
  readonly precision?: Precision
  readonly attention?: Attention
  /** Ranks by layer, see `planLoras`: these layers get a low-rank branch. */
  readonly loraRanks?: ReadonlyMap<string, number>
}

/**
 * The weights of one part of a model, with an account of which were used: a missing, misshapen or left-over
 * weight is an error that names its key, never a silent default.
 */
export class Weights implements WeightSource {
  readonly file: SafetensorsFile
  readonly precision: Precision
  readonly attention: Attention
  readonly #taken = new Set<string>()
  readonly #ranks: ReadonlyMap<string, number>
  readonly #branched = new Set<string>()

  constructor(file: SafetensorsFile, options: WeightsOptions = {}) {
    this.file = file
    this.precision = options.precision ?? 'float32'
    this.attention = options.attention ?? 'fused'
    this.#ranks = options.loraRanks ?? new Map()
  }

  get fileName(): string {
    return this.file.name
  }

  has(key: string): boolean {
    return this.file.tensors.has(key)
  }

  shape(key: string): readonly number[] {
    return this.#find(key).shape
  }

  take(key: string, shape: readonly number[]): StoredTensor {
    const tensor = this.#find(key)
    if (tensor.shape.length !== shape.length || tensor.shape.some((dim, axis) => dim !== shape[axis])) {
      throw new CheckpointError(
        `${this.file.path}: weight "${tensor.key}" has shape [${tensor.shape.join(', ')}], ` +
          `the model needs [${shape.join(', ')}]`,
      )
    }
    this.#taken.add(key)
    return tensor
  }

  loraRank(layer: string): number {
    this.#branched.add(layer)
    return this.#ranks.get(layer) ?? 0
  }

  assertAllTaken(unused: readonly string[] = []): void {
    const left = [...this.file.tensors]
      .filter(([key]) => !this.#taken.has(key) && !unused.some((prefix) => key.startsWith(prefix)))
      .map(([, tensor]) => tensor.key)
    if (left.length > 0) {
      const more = left.length > 3 ? ` and ${left.length - 3} more` : ''
      throw new CheckpointError(
        `${this.file.path}: the model has no place for ${left.slice(0, 3).join(', ')}${more}`,
      )
    }
    for (const layer of this.#ranks.keys()) {
      if (!this.#branched.has(layer)) {
        throw new CheckpointError(`${this.file.path}: the model has no layer "${layer}" for a LoRA`)
      }
    }
  }

  #find(key: string): StoredTensor {
    const tensor = this.file.tensors.get(key)
    if (!tensor) throw new CheckpointError(`${this.file.path}: weight "${key}" is missing`)
    return tensor
  }
}
