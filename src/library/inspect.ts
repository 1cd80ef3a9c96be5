import { describeModel } from '../diffusion/checkpoint/describe.ts'
import { identify } from '../diffusion/checkpoint/identify.ts'
import { openEngine } from '../diffusion/engine.ts'
import { checkFinite } from '../diffusion/safetensors/check-finite.ts'
import type { Inspect } from './folder/inspect.ts'

/** What the models folder asks of the engine. */
export const engineInspect: Inspect = {
  identify,
  async checkModel(path) {
    await describeModel(path)
    // sessions are made at the first picture: this reads headers, and lays out every graph
    const engine = await openEngine({ model: path, provider: 'cpu' })
    await engine.close()
  },
  checkFinite: (path) => checkFinite(path),
}
