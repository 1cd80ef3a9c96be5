import type { Kind } from '../diffusion/checkpoint/kinds.ts'
import { misfit } from '../diffusion/checkpoint/usable.ts'
import type { PictureRequest } from '../diffusion/request.ts'
import { samplers, schedules } from '../diffusion/samplers/catalog.ts'
import { AppError } from '../jobs/errors.ts'
import type { ResolvedRequest } from '../jobs/job.ts'
import { findNamed } from '../jobs/offer.ts'
import type { GivenImages, PictureReader } from '../jobs/ports.ts'
import { withoutTags } from '../jobs/prompt-tags.ts'
import { addOnFile, type Contents, type LibraryModel } from '../library/library.ts'

/**
 * Translates a request of the service for the engine. A task may come from a server whose lists and files are newer, so
 * they are checked again.
 * @throws AppError `unavailable` when this worker lacks a file, Error for a sampler or schedule that the engine lacks
 */
export function engineRequest(request: ResolvedRequest, seed: number, contents: Contents): PictureRequest {
  const {
    prompt,
    negative_prompt,
    width,
    height,
    steps,
    guidance_scale,
    clip_skip,
    loras = [],
    decoder,
  } = request
  const { eta, timesteps, guidance_end: guidanceEnd, pace, precision } = request
  const sampler = samplers.find((each) => each === request.sampler)
  const schedule = schedules.find((each) => each === request.schedule)
  if (sampler === undefined || schedule === undefined) {
    throw new Error(`The engine has no sampler ${request.sampler} with schedule ${request.schedule}.`)
  }
  const model = findNamed(contents.models, request.model)
  // a name of one that does not fit is a word like any other
  const embeddings = contents.addOns.filter(
    ({ kind, facts }) => kind === 'embedding' && !(facts && model && misfit(facts, model.described)),
  )
  return {
    prompt: withoutTags(prompt),
    negativePrompt: withoutTags(negative_prompt),
    width,
    height,
    steps,
    guidanceScale: guidance_scale,
    sampler,
    schedule,
    seed,
    ...(eta !== undefined && { eta }),
    ...(timesteps !== undefined && { timesteps }),
    ...(guidanceEnd !== undefined && { guidanceEnd }),
    ...(pace !== undefined && { pace }),
    ...(precision === 'int8' && { precision }),
    ...(clip_skip !== undefined && { clipSkip: clip_skip }),
    ...(decoder !== undefined && { decoder: found(contents, 'tiny_vae', decoder) }),
    loras: loras.map(({ name, strength, text_strength: textStrength }) => {
      return { file: found(contents, 'lora', name), strength, textStrength }
    }),
    embeddings: new Map(embeddings.map(({ name, path }) => [name, path])),
  }
}

/** The file of a tiny VAE that fits the request's model, for previews; undefined if there is none. */
export function tinyVaeFor(
  { models, addOns }: Contents,
  { model: name }: Pick<ResolvedRequest, 'model'>,
): string | undefined {
  const model = findNamed(models, name)
  return addOns.find(
    ({ kind, facts }) =>
      kind === 'tiny_vae' && model && facts && misfit(facts, model.described) === undefined,
  )?.path
}

/** The uploaded pictures of a request, as pixels at the size of the request. */
export async function sourceImage(
  { width, height, strength = 1 }: ResolvedRequest,
  { init, mask }: GivenImages,
  reader: PictureReader,
): Promise<PictureRequest['image']> {
  if (init === undefined) return undefined
  const picture = await reader.fit(init, width, height, 'picture')
  const painted = mask === undefined ? undefined : await reader.fit(mask, width, height, 'mask')
  return { rgb: picture.pixels, width, height, strength, mask: painted?.pixels }
}

/** The files of a request's model and VAE. @throws AppError `unavailable` */
export function engineFiles(
  { model: name, vae }: Pick<ResolvedRequest, 'model' | 'vae'>,
  contents: Contents,
): { readonly model: LibraryModel; readonly vae: string | undefined } {
  const model = findNamed(contents.models, name)
  if (model === undefined) throw missing('model', name)
  const chosen = vae ?? model.default_vae
  return { model, vae: chosen === undefined ? undefined : found(contents, 'vae', chosen) }
}

/** The file of an upscaler. @throws AppError `unavailable` */
export function upscalerFile(contents: Contents, name: string): string {
  return found(contents, 'upscaler', name)
}

function found(contents: Contents, kind: Kind, name: string): string {
  const file = addOnFile(contents, kind, name)
  if (file === undefined) throw missing(kind, name)
  return file
}

/** Another worker may have it: servers offer what they see, and folders are copied at different times. */
function missing(kind: string, name: string): AppError {
  return new AppError(
    'unavailable',
    `No worker that tried this job has the ${kind} ${name} in a usable form.`,
  )
}
