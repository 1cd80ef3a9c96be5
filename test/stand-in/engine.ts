import type { ModelInfo } from '../../src/jobs/ports.ts'
import type { Engine } from '../../src/main/all-in-one.ts'

/** A model that only the tests have; see thread.ts for what its prompts do. */
export const standInModel: ModelInfo = {
  name: 'stand-in',
  width: 256,
  height: 256,
  steps: 4,
  guidance_scale: 7,
  size_multiple: 16,
  samplers: ['dpmpp_2m'],
  schedules: ['karras', 'normal'],
}

export const standInEngine: Engine = {
  workerEntry: new URL('./worker-process.ts', import.meta.url),
  describeModels: async () => [standInModel],
}
