import { serveInference } from '../../src/adapters/inference-thread/serve.ts'

/** A thread whose model cannot be loaded. */
await serveInference(
  async () => {
    throw new Error('unet/model.safetensors is truncated.')
  },
  () => 'model_invalid',
)
