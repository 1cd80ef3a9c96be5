import { samplers } from '../diffusion/samplers/sampler.ts'
import { schedules } from '../diffusion/samplers/schedules.ts'
import type { TextToImageRequest } from '../diffusion/text-to-image.ts'
import type { ResolvedRequest } from '../jobs/job.ts'

/**
 * The service's words for a picture in the engine's. A task may come from a server whose lists are newer than
 * this engine, so the lists are looked at once more. Throws for a sampler or schedule that the engine lacks.
 */
export function engineRequest(request: ResolvedRequest, seed: number): TextToImageRequest {
  const { prompt, negative_prompt, width, height, steps, guidance_scale } = request
  const sampler = samplers.find((each) => each === request.sampler)
  const schedule = schedules.find((each) => each === request.schedule)
  if (sampler === undefined || schedule === undefined) {
    throw new Error(`The engine has no sampler ${request.sampler} with schedule ${request.schedule}.`)
  }
  return {
    prompt,
    negativePrompt: negative_prompt,
    width,
    height,
    steps,
    guidanceScale: guidance_scale,
    sampler,
    schedule,
    seed,
  }
}
