import type { SamplerInfo } from '../../../jobs/offer.ts'
import type { JobView } from '../../../jobs/serving/job-view.ts'
import { timestampOf } from './progress.ts'
import type { PictureCall } from './request.ts'

/** A picture that was made. */
export interface Made {
  readonly seed: number
  readonly width: number
  readonly height: number
  readonly infotext: string
}

interface Of {
  readonly views: readonly JobView[]
  readonly made: readonly Made[]
  readonly call: PictureCall
  readonly samplers: readonly SamplerInfo[]
}

/** `info` of an answer: JSON, which is sent as a text. Of a call that was interrupted it has the pictures that were made. */
export function infoOf({ views, made, call, samplers }: Of): string {
  const [view] = views
  const request = view?.request
  const [first] = made
  const { prompt = '', negative_prompt = '', sampler, seed = 0 } = request ?? {}
  return JSON.stringify({
    prompt,
    all_prompts: made.map(() => prompt),
    negative_prompt,
    all_negative_prompts: made.map(() => negative_prompt),
    seed: first?.seed ?? seed,
    all_seeds: made.map((each) => each.seed),
    subseed: first?.seed ?? seed,
    all_subseeds: made.map((each) => each.seed),
    subseed_strength: 0,
    width: first?.width ?? request?.width,
    height: first?.height ?? request?.height,
    sampler_name: samplers.find(({ name }) => name === sampler)?.label ?? sampler,
    cfg_scale: request?.guidance_scale,
    steps: request?.steps,
    batch_size: call.batchSize,
    restore_faces: false,
    face_restoration_model: null,
    sd_model_name: request?.model,
    sd_model_hash: null,
    sd_vae_name: request?.vae ?? null,
    sd_vae_hash: null,
    seed_resize_from_w: -1,
    seed_resize_from_h: -1,
    denoising_strength: request?.strength ?? null,
    extra_generation_params: request === undefined ? {} : { 'Schedule type': request.schedule },
    index_of_first_image: 0,
    infotexts: made.map(({ infotext }) => infotext),
    styles: [],
    job_timestamp: timestampOf(view?.created_at ?? ''),
    clip_skip: call.clipSkip,
    is_using_inpainting_conditioning: false,
    version: 'Packshot',
  })
}

/** The fields of a request as the answer repeats them, without its pictures. */
export function parametersOf(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const short = (value: unknown) =>
    value === null ||
    typeof value === 'number' ||
    typeof value === 'boolean' ||
    (typeof value === 'string' && value.length <= 10_000)
  const simple = Object.entries(fields).filter(([name, value]) => name !== 'mask' && short(value))
  return Object.fromEntries(simple.slice(0, 100))
}
