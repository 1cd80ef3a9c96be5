import { AppError } from '../jobs/errors.ts'
import type { MatteSource } from './gate.ts'

/** The matting network of this worker, opened when a picture first needs it. */
export function matteSource(): MatteSource {
  return {
    alpha: () => Promise.reject(new AppError('unavailable', 'This worker has no matting network.')),
  }
}
