import { CheckpointError } from '../errors.ts'
import { isFloat, type SafetensorsFile, type StoredTensor } from '../safetensors/safetensors.ts'
import type { KeyPair } from './ldm-keys.ts'

export const incomplete =
  'the file lacks weights of the model: it is incomplete, or of a variant that is not supported'

/** A tensor of a part by its name in the original layout, without the part's prefix. */
export type Find = (name: string) => StoredTensor | undefined

/** A part of a file and how to look into it. */
export interface Source {
  readonly path: string
  readonly find: Find
  /** What a name is called in the file. */
  keyOf(name: string): string
}

/** @param keyOf what a part's name is called in the file, such as the name behind a prefix */
export function partOf({ path, tensors }: SafetensorsFile, keyOf: (name: string) => string): Source {
  return { path, keyOf, find: (name) => tensors.get(keyOf(name)) }
}

/** Whether a layer is there, even if one of its weights is missing: that one is then to be named. */
export function hasLayer({ find }: Pick<Source, 'find'>, name: string): boolean {
  return find(`${name}.weight`) !== undefined || find(`${name}.bias`) !== undefined
}

/**
 * The part of a file that the keys name, under diffusers' names. Adds what it took to `used`.
 * @throws CheckpointError if a key is missing, or holds anything but floating-point numbers
 */
export function view(
  file: SafetensorsFile,
  { path, keyOf, find }: Source,
  keys: Iterable<KeyPair>,
  used: Set<string>,
): SafetensorsFile {
  const tensors = new Map<string, StoredTensor>()
  const missing: string[] = []
  for (const [diffusers, name] of keys) {
    const tensor = find(name)
    if (!tensor) {
      missing.push(keyOf(name))
      continue
    }
    if (!isFloat(tensor.dtype)) {
      const supported = 'F32, F16, BF16 and F64 are supported'
      throw new CheckpointError(`${path}: weight "${tensor.key}" has dtype ${tensor.dtype}; ${supported}`, {
        reason: `its weights are stored as ${tensor.dtype}; ${supported}: use a file of the same model with one of them`,
      })
    }
    tensors.set(diffusers, tensor)
    used.add(tensor.key)
  }
  if (missing.length > 0) {
    const more = missing.length > 1 ? ` (and ${missing.length - 1} more)` : ''
    throw new CheckpointError(`${path}: weight "${missing[0]}" is missing${more}`, { reason: incomplete })
  }
  return { ...file, tensors }
}

/** @throws CheckpointError naming the first keys of the file that are neither used nor harmless */
export function checkLeftOver(
  { path, tensors }: SafetensorsFile,
  used: ReadonlySet<string>,
  harmless: readonly RegExp[],
): void {
  const left = [...tensors.keys()].filter(
    (key) => !used.has(key) && !harmless.some((pattern) => pattern.test(key)),
  )
  if (left.length > 0) {
    const more = left.length > 3 ? ` and ${left.length - 3} more` : ''
    throw new CheckpointError(`${path}: the model has no place for ${left.slice(0, 3).join(', ')}${more}`, {
      reason:
        'the file has weights that the model has no place for: it is of a variant that is not supported',
    })
  }
}
