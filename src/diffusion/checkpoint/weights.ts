import { CheckpointError } from '../errors.ts'
import type { WeightSource } from '../graph/graph.ts'
import { type SafetensorsFile, type StoredTensor, smallTensor } from '../safetensors/safetensors.ts'

/**
 * The weights of one part of a model, with an account of which were used: a missing, misshapen or left-over
 * weight is an error that names its key, never a silent default.
 */
export class Weights implements WeightSource {
  readonly file: SafetensorsFile
  readonly #taken = new Set<string>()

  constructor(file: SafetensorsFile) {
    this.file = file
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

  numbers(tensor: StoredTensor): Float32Array {
    return smallTensor(this.file, tensor)
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
  }

  #find(key: string): StoredTensor {
    const tensor = this.file.tensors.get(key)
    if (!tensor) throw new CheckpointError(`${this.file.path}: weight "${key}" is missing`)
    return tensor
  }
}
