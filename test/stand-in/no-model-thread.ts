import { serveInference } from '../../src/generator/serve.ts'
import { AppError, messageOf } from '../../src/jobs/errors.ts'

/** A thread whose model cannot be loaded. */
await serveInference(
  async () => {
    throw new Error('unet/model.safetensors is truncated.')
  },
  (thrown) => new AppError('model_invalid', messageOf(thrown)),
)
