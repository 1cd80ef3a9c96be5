import { workerData } from 'node:worker_threads'
import { type PictureMaker, serveInference } from '../adapters/inference-thread/serve.ts'
import type { Config } from '../config.ts'
import { describeModel } from '../diffusion/checkpoint/describe.ts'
import { CheckpointError } from '../diffusion/errors.ts'
import { infotext } from '../diffusion/infotext.ts'
import { encodePng } from '../diffusion/png.ts'
import { loadTextToImage } from '../diffusion/text-to-image.ts'
import { engineRequest } from './engine-request.ts'
import { modelFolder } from './model.ts'
import { packageVersion } from './version.ts'

/** The inference thread: here the engine meets the service's words. Its workerData is the `Config`. */

async function load(config: Config): Promise<PictureMaker> {
  const { provider, threads } = config
  const modelDir = modelFolder(config)
  const engine = await loadTextToImage({ modelDir, provider, threads })
  // sessions for the size that most people ask for: the first picture does not wait for the weights
  await engine.prepare(await describeModel(modelDir))
  const version = await packageVersion()
  return {
    async make(request, seed, { onStep, signal }) {
      const wanted = engineRequest(request, seed)
      const picture = await engine.generate(wanted, { onStep, signal })
      const bytes = encodePng(picture, { parameters: infotext(wanted, request.model, version) })
      return { bytes, width: picture.width, height: picture.height }
    },
  }
}

await serveInference(
  () => load(workerData as Config),
  (thrown) => (thrown instanceof CheckpointError ? 'model_invalid' : undefined),
)
