import type { CheckpointError } from '../diffusion/errors.ts'
import { AppError } from '../jobs/errors.ts'

/** A file that cannot be used, in words for everybody; what its error says of paths and tensors is for the operator. */
export function fileFault(error: CheckpointError, subject = error.subject): AppError {
  const { reason, message: detail } = error
  const message = `${subject ?? 'A file that the job needs'} cannot be used: ${reason}.`
  return new AppError('model_invalid', message, { detail, cause: error })
}
