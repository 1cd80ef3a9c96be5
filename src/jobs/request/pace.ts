import type { Blame } from '../errors.ts'
import { defaultStrength, type JobRequest, type LoraUse, type RequestLimits } from '../fields.ts'
import type { ModelInfo, Offer } from '../offer.ts'
import { type FastPace, findPace, missingPace } from '../paces.ts'

interface Paced {
  /** With the settings of the pace in the fields that were absent. */
  readonly request: JobRequest
  readonly loras: LoraUse[]
  /** Absent for `quality`. */
  readonly pace?: FastPace
}

/**
 * What a pace adds to a request: its LoRA, unless the request names that, and its settings. Fields of the request win;
 * what belongs to the LoRA's sampler is left out beside another sampler. A pace that the model lacks is passed to
 * `blame`.
 */
export function applyPace(
  request: JobRequest,
  loras: LoraUse[],
  model: ModelInfo,
  { loras: offered, samplers }: Pick<Offer, 'loras' | 'samplers'>,
  { maxLoras }: Pick<RequestLimits, 'maxLoras'>,
  blame: Blame,
): Paced {
  const { pace = 'quality' } = request
  if (pace === 'quality') return { request, loras }
  const named = loras.map(({ name }) => name)
  const found = findPace(model, offered, pace, named)
  if (found === undefined) {
    blame('pace', missingPace(model, offered, pace))
    return { request, loras }
  }
  const { lora, recipe } = found
  const all = named.includes(lora.name) ? loras : [...loras, { name: lora.name, strength: 1 }]
  if (all.length > maxLoras && loras.length <= maxLoras) {
    blame(
      'pace',
      `pace ${pace} adds the LoRA ${lora.name}, and a request may name ${maxLoras}: remove one of ${maxLoras}.`,
    )
  }
  const { sampler, schedule, steps, guidance_scale, eta, timesteps } = recipe
  const asked = request.sampler === undefined ? undefined : samplers.parse(request.sampler)
  const own = request.sampler === undefined || asked?.sampler === sampler
  const free = request.timesteps === undefined
  const ownSchedule = own && free && asked?.schedule === undefined
  const { init_image, strength = defaultStrength } = request
  // of a picture that begins with another one, the first steps are skipped: as many as were meant are left
  const taken = init_image === undefined || strength === 0 ? steps : Math.ceil(steps / strength)
  const whole = taken === steps && request.steps === undefined && request.schedule === undefined
  const given = ownSchedule && whole ? timesteps : undefined
  return {
    request: {
      guidance_scale,
      ...(own && { sampler }),
      ...(ownSchedule && given === undefined && { schedule }),
      ...(own && eta !== undefined && { eta }),
      ...(given ? { timesteps: [...given] } : free && { steps: taken }),
      ...request,
    },
    loras: all,
    pace,
  }
}
