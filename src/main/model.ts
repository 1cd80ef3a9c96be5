import { isAbsolute, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Config } from '../config.ts'
import { describeModel } from '../diffusion/checkpoint/describe.ts'
import { CheckpointError } from '../diffusion/errors.ts'
import { AppError } from '../jobs/errors.ts'
import type { ModelInfo } from '../jobs/ports.ts'

const builtIn = fileURLToPath(new URL('../../models', import.meta.url))

/** A name is a folder in `models/`; anything with a slash is a path. */
export function modelFolder(config: Pick<Config, 'model'>): string {
  const isPath = isAbsolute(config.model) || /[/\\]/.test(config.model)
  return isPath ? resolve(config.model) : resolve(builtIn, config.model)
}

/** What the engine says of the model, in the service's words. Rejects `model_invalid`. */
export async function describeModels(config: Config): Promise<readonly ModelInfo[]> {
  try {
    const model = await describeModel(modelFolder(config))
    return [
      {
        name: model.name,
        width: model.width,
        height: model.height,
        steps: model.steps,
        guidance_scale: model.guidanceScale,
        size_multiple: model.sizeMultiple,
        samplers: model.samplers,
        schedules: model.schedules,
      },
    ]
  } catch (thrown) {
    if (!(thrown instanceof CheckpointError)) throw thrown
    const message = `The model ${config.model} cannot be used: ${thrown.message}`
    throw new AppError('model_invalid', message, { param: 'PACKSHOT_MODEL', cause: thrown })
  }
}
