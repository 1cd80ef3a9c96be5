import { isAbsolute, resolve } from 'node:path'
import type { Config } from '../config.ts'
import { builtInMatte } from '../diffusion/matte/matte.ts'
import { AppError } from '../jobs/errors.ts'
import { findNamed, sameName } from '../jobs/offer.ts'
import { listModels } from './folder/list.ts'

const builtInMatteName = 'packshot-matte'

/**
 * The file of the matting network that a worker uses, by its setting. The file itself was not opened.
 * @throws AppError `model_invalid` if there is none of this name, or if it cannot be used
 */
export async function matteFile({ matte, modelsDir }: Pick<Config, 'matte' | 'modelsDir'>): Promise<string> {
  if (isAbsolute(matte) || /[/\\]/.test(matte)) return resolve(matte)
  if (sameName(matte, builtInMatteName)) return builtInMatte
  const entries = (await listModels(modelsDir)).entries.filter(({ kind }) => kind === 'matte')
  const usable = entries.filter(({ problem }) => problem === undefined)
  const entry = findNamed(usable, matte) ?? findNamed(entries, matte)
  const message = 'The network that finds the product cannot be used.'
  if (entry === undefined) {
    const known = [
      builtInMatteName,
      ...usable.map(({ name }) => name).filter((name) => name !== builtInMatteName),
    ]
    const detail = `There is no matting network ${matte} in ${resolve(modelsDir, 'matte')}; there are ${known.join(', ')}. Set PACKSHOT_MATTE to one of them, or to a path.`
    throw new AppError('model_invalid', message, { param: 'PACKSHOT_MATTE', detail })
  }
  if (entry.problem !== undefined) {
    throw new AppError('model_invalid', message, {
      param: 'PACKSHOT_MATTE',
      detail: `${entry.path}: ${entry.problem.detail}`,
    })
  }
  return entry.path
}
