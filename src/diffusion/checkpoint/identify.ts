import { CheckpointError } from '../errors.ts'
import { foreignName } from '../safetensors/foreign-file.ts'
import { type Dtype, isFloat, openSafetensors, type StoredTensor } from '../safetensors/safetensors.ts'
import { openDiffusersFolder } from './diffusers-folder.ts'
import { classify, type Family, type FileKind, familyNames } from './family.ts'
import { isFolder } from './model.ts'

export interface Identity {
  readonly kind: FileKind
  readonly family: Family
  /** For a sentence that begins with "this is". */
  readonly description: string
  /** Of most of the numbers. */
  readonly dtype: Dtype
  readonly tensors: number
  /** How many numbers there are. */
  readonly parameters: number
}

/**
 * What a `.safetensors` file or a model folder is, from headers and configs alone. That it can be used is for
 * `openModel` and its like to say.
 * @throws CheckpointError if it is damaged, or of a format that is not read
 */
export async function identify(path: string): Promise<Identity> {
  const foreign = foreignName(path)
  if (foreign) throw new CheckpointError(`${path}: ${foreign}`)
  if (!(await isFolder(path))) {
    const { tensors } = await openSafetensors(path)
    return { ...classify(tensors), ...count([...tensors.values()]) }
  }
  const { text, unet, vae } = await openDiffusersFolder(path)
  const all = [text, unet, vae].flatMap(({ tensors }) => [...tensors.values()])
  return { kind: 'checkpoint', family: 'sd1', description: familyNames.sd1, ...count(all) }
}

function count(tensors: readonly StoredTensor[]): Pick<Identity, 'dtype' | 'tensors' | 'parameters'> {
  const numbers = new Map<Dtype, number>()
  for (const { dtype, shape } of tensors) {
    numbers.set(dtype, (numbers.get(dtype) ?? 0) + shape.reduce((product, dim) => product * dim, 1))
  }
  const [most] = [...numbers].sort(([a, x], [b, y]) => Number(isFloat(b)) - Number(isFloat(a)) || y - x)
  const parameters = [...numbers.values()].reduce((sum, value) => sum + value, 0)
  return { dtype: most?.[0] ?? 'F32', tensors: tensors.length, parameters }
}
