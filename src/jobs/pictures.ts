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
export function stepsOf(request: ResolvedRequest): number {
  return firstSteps(request) + hiresSteps(request)
}

/** Of those, the steps at the size of the request. */
export function firstSteps({ steps, strength, init_image }: ResolvedRequest): number {
  return init_image === undefined || strength === undefined ? steps : Math.floor(steps * strength)
}

/** And those at the size of `hires`. */
export function hiresSteps({ hires }: Pick<ResolvedRequest, 'hires'>): number {
  return hires === undefined ? 0 : Math.floor(hires.steps * hires.strength)
}

/** The size that a picture is drawn in at last, before it is finished or enlarged. */
export function drawnSize({ width, height, hires }: Pick<ResolvedRequest, 'width' | 'height' | 'hires'>): {
  readonly width: number
  readonly height: number
} {
  return hires === undefined ? { width, height } : { width: hires.width, height: hires.height }
}

/**
 * How many pictures the model is called with in so many steps of a run, at one call a step: two in a step with guidance,
 * which `guidance_end` limits to the first ones, at least one.
 */
export function rowsOf({ guidance_scale, guidance_end = 1 }: ResolvedRequest, steps: number): number {
  if (guidance_scale <= 1 || steps === 0) return steps
  return steps + Math.max(1, Math.round(steps * guidance_end))
}
