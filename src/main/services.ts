import type { Services } from '../http/services.ts'
import { viewJob } from '../jobs/answer.ts'
import { type CancelDeps, cancelJob } from '../jobs/cancel.ts'
import { toAppError } from '../jobs/errors.ts'
import { getAddress, getPicture } from '../jobs/picture.ts'
import { type SubmitDeps, submitJob } from '../jobs/submit.ts'

/** The jobs core as the HTTP side sees it. */
export function createServices(deps: SubmitDeps & CancelDeps, ready: () => boolean): Services {
  const asAppError = async <T>(action: Promise<T>): Promise<T> => {
    try {
      return await action
    } catch (thrown) {
      throw toAppError(thrown)
    }
  }
  return {
    submit: (body, options) => asAppError(submitJob(deps, body, options)),
    view: (id) => asAppError(viewJob(deps, id)),
    image: (id, index) => asAppError(getPicture(deps, id, index)),
    imageAddress: (id, index) => asAppError(getAddress(deps, id, index)),
    cancel: (id) => asAppError(cancelJob(deps, id)),
    models: () => deps.models,
    limits: deps.limits,
    ready,
  }
}
