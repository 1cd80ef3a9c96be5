import type { ResolvedRequest } from './job.ts'

/**
 * What a request says of its pictures. Apart from the schemas of job.ts: the engine's thread needs only this, and would
 * otherwise load the library of schemas at each start.
 */

/**
 * The seed of picture `index`, and of each further try of it, counted from 0: no two of a job are the same. Seeds are 32
 * bits wide and wrap around, so that every picture has a valid one.
 */
export function imageSeed({ seed, count }: ResolvedRequest, index: number, attempt = 0): number {
  return (seed + index + attempt * count) % 2 ** 32
}

/** How often a picture is drawn at most. */
export function triesOf({ gate }: { readonly gate?: ResolvedRequest['gate'] | undefined }): number {
  return gate?.tries ?? 1
}

/**
 * How many steps a picture takes. A job that starts from a picture skips the first of them: of 20 steps at a strength
 * of 0.75 it takes 15 (whole steps, as diffusers counts).
 */
export function stepsOf({ steps, strength, init_image }: ResolvedRequest): number {
  return init_image === undefined || strength === undefined ? steps : Math.floor(steps * strength)
}

/** How many of a picture's steps have guidance: each calls the model for two pictures. */
export function guidedStepsOf(request: ResolvedRequest): number {
  const steps = stepsOf(request)
  if (request.guidance_scale <= 1) return 0
  return request.guidance_end === undefined ? steps : guidedSteps(steps, request.guidance_end)
}

/** The first steps of a run that has guidance for a part of it: at least one. */
function guidedSteps(steps: number, part: number): number {
  return Math.max(1, Math.round(steps * part))
}
