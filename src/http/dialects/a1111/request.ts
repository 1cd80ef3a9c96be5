import { AppError } from '../../../jobs/errors.ts'
import type { Offer } from '../../../jobs/offer.ts'
import { describeValue } from '../../../jobs/wording.ts'
import type { FieldNames } from '../faults.ts'
import { countOf, fieldsOf, given, withoutAbsent } from '../json-bodies.ts'
import { applied, type Settings } from './settings.ts'

/** txt2img and img2img as a request of ours. docs/dialects.md lists what is ignored and what is refused. */

/** Ours, and theirs. */
export const a1111Names: FieldNames = {
  guidance_scale: 'cfg_scale',
  sampler: 'sampler_name',
  schedule: 'scheduler',
  strength: 'denoising_strength',
  count: 'batch_size',
  clip_skip: 'CLIP_stop_at_last_layers',
  vae: 'sd_vae',
  model: 'sd_model_checkpoint',
}

export interface PictureCall {
  /** A body of POST /v1/jobs, without `count`, `init_image` and `mask`. */
  readonly body: Readonly<Record<string, unknown>>
  readonly total: number
  readonly batchSize: number
  readonly clipSkip: number
  readonly sendImages: boolean
  /** `force_task_id`. */
  readonly task: string | undefined
}

type Fields = Readonly<Record<string, unknown>>

/** In one call, batches and iterations together: all are in one answer. */
const mostPictures = 16

/** Rejects `not_found` for a sampler, schedule or model that is not offered, `invalid_request` for what is not supported. */
export function pictureCallOf(
  fields: Fields,
  offer: Offer,
  settings: Settings,
  from: 'text' | 'picture',
): PictureCall {
  refuseUnsupported(fields)
  const { model, vae, clipSkip } = applied(offer, settings, fieldsOf(fields.override_settings))
  const batchSize = countOf(given(fields, 'batch_size'), 'batch_size', mostPictures)
  const total = batchSize * countOf(given(fields, 'n_iter'), 'n_iter', mostPictures)
  if (total > mostPictures) {
    throw invalid('batch_size', `batch_size times n_iter must be at most ${mostPictures}, but was ${total}.`)
  }
  const seed = given(fields, 'seed')
  return {
    body: withoutAbsent({
      prompt: given(fields, 'prompt') ?? '',
      negative_prompt: given(fields, 'negative_prompt'),
      width: given(fields, 'width'),
      height: given(fields, 'height'),
      steps: given(fields, 'steps'),
      guidance_scale: given(fields, 'cfg_scale'),
      ...samplerOf(fields, offer, settings),
      seed: seed === -1 ? undefined : seed,
      model: model.name,
      vae,
      clip_skip: clipSkip === 1 ? undefined : clipSkip,
      strength: from === 'picture' ? given(fields, 'denoising_strength') : undefined,
    }),
    total,
    batchSize,
    clipSkip,
    sendImages: given(fields, 'send_images') !== false,
    task: taskOf(fields),
  }
}

function samplerOf(
  fields: Fields,
  offer: Offer,
  { model }: Settings,
): { sampler?: string; schedule?: string } {
  const sampler = given(fields, 'sampler_name') ?? given(fields, 'sampler_index')
  const schedule = given(fields, 'scheduler')
  const named = typeof sampler === 'string' && sampler !== '' ? sampler : undefined
  if (named !== undefined) {
    const found = offer.samplers.parse(named)
    if (!offer.samplers.of(model).some(({ name }) => name === found?.sampler)) {
      throw new AppError('not_found', 'Sampler not found', { param: 'sampler_name' })
    }
  }
  const isSet = typeof schedule === 'string' && schedule !== '' && schedule.toLowerCase() !== 'automatic'
  if (isSet && offer.samplers.parseSchedule(schedule) === undefined) {
    throw new AppError('not_found', 'Scheduler not found', { param: 'scheduler' })
  }
  return { ...(named === undefined ? {} : { sampler: named }), ...(isSet ? { schedule } : {}) }
}

function taskOf(fields: Fields): string | undefined {
  const task = given(fields, 'force_task_id')
  if (task === undefined || task === '') return undefined
  return String(task).slice(0, 1000)
}

/** What would make another picture than is meant. Fields that clients send with a value that asks for nothing pass. */
function refuseUnsupported(fields: Fields): void {
  for (const [name, why] of Object.entries(flags)) {
    const value = given(fields, name)
    if (value === true || (typeof value === 'number' && value > 0)) {
      throw invalid(name, `${name} is not supported: ${why}`)
    }
  }
  for (const name of ['refiner_checkpoint', 'script_name'] as const) {
    const value = given(fields, name)
    if (value !== undefined && value !== '' && String(value).toLowerCase() !== 'none') {
      throw invalid(name, `${name} must be absent: there is no ${describeValue(value)}.`)
    }
  }
  const { styles } = fields
  if (Array.isArray(styles) && styles.length > 0)
    throw invalid('styles', 'styles must be empty: there are no styles.')
  for (const [name, script] of Object.entries(fieldsOf(fields.alwayson_scripts))) {
    if (!asksForSomething(script)) continue
    throw invalid('alwayson_scripts', `alwayson_scripts: there is no script ${describeValue(name)}.`)
  }
}

const flags: Readonly<Record<string, string>> = {
  enable_hr: 'request the final size with width and height.',
  restore_faces: 'there is no face restoration.',
  tiling: 'pictures do not tile.',
  subseed_strength: 'there are no variation seeds.',
  seed_resize_from_w: 'seeds belong to one size.',
  seed_resize_from_h: 'seeds belong to one size.',
  inpainting_mask_invert: 'send the mask inverted; white is repainted.',
}

/** Clients list ControlNet and others with no arguments, or with their switch off. */
function asksForSomething(script: unknown): boolean {
  const args = typeof script === 'object' && script !== null && 'args' in script ? script.args : script
  if (!Array.isArray(args)) return args !== undefined && args !== null && Object.keys(Object(args)).length > 0
  return args[0] !== false && !args.every(isOff)
}

function isOff(value: unknown): boolean {
  if (value === null || value === false || value === '' || value === 0) return true
  return typeof value === 'object' && 'enabled' in Object(value) && Object(value).enabled === false
}

function invalid(param: string, message: string): AppError {
  return new AppError('invalid_request', message, { param })
}
