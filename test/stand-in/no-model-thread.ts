import { serveInference } from '../../src/generator/serve.ts'

/** A thread whose model cannot be loaded. */
await serveInference(
  async () => {
    throw new Error('unet/model.safetensors is truncated.')
  },
  () => 'model_invalid',
)
