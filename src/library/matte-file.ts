import { isAbsolute, join, resolve } from 'node:path'
import type { Config } from '../config.ts'
import { kinds } from '../diffusion/checkpoint/kinds.ts'
import { builtInMatte } from '../diffusion/matte/matte.ts'
import { AppError } from '../jobs/errors.ts'
import { findNamed, sameName } from '../jobs/offer.ts'
import { walk } from './folder/walk.ts'

const builtInName = 'packshot-matte'

/**
 * The file of the matting network that a worker uses, by its setting: the built-in one, a name in the models folder, or a
 * path. The file was not read.
 * @throws AppError `model_invalid` if there is none of this name
 */
export async function matteFile({ matte, modelsDir }: Pick<Config, 'matte' | 'modelsDir'>): Promise<string> {
  if (isAbsolute(matte) || /[/\\]/.test(matte)) return resolve(matte)
  if (sameName(matte, builtInName)) return builtInMatte
  const there = (await walk(modelsDir)).found.filter(({ kind }) => kind === 'matte')
  const entry = findNamed(there, matte)
  if (entry !== undefined) return entry.path
  const known = new Set([builtInName, ...there.map(({ name }) => name)])
  const detail = `There is no matting network ${matte} in ${resolve(join(modelsDir, kinds.matte.folder))}; there are ${[...known].join(', ')}. Set PACKSHOT_MATTE to one of them, or to a path.`
  const message = 'The network that finds the product in a picture is missing.'
  throw new AppError('model_invalid', message, { param: 'PACKSHOT_MATTE', detail })
}
