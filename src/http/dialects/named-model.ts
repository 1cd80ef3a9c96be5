import { AppError } from '../../jobs/errors.ts'
import { findNamed, type ModelInfo, type Offer } from '../../jobs/offer.ts'
import { describeValue, listed } from '../../jobs/wording.ts'

/** A model by its name in an address; throws `not_found`. */
export function modelCalled(name: string, { models }: Offer): ModelInfo {
  const model = findNamed(models, name)
  if (model !== undefined) return model
  const names = listed(models.map((each) => each.name))
  throw new AppError('not_found', `There is no model ${describeValue(name)}. The models are ${names}.`)
}
