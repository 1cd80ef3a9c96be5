import type { Blame } from '../errors.ts'
import { defaultStrength, type JobRequest, type RequestLimits } from '../fields.ts'
import type { ResolvedRequest } from '../job.ts'
import { findNamed, type ModelInfo, namesFor, type Offer, whyNot } from '../offer.ts'
import { describeValue, listed } from '../wording.ts'

/** Whether the model can do what a request asks for. Every fault is passed to `blame`. */

/** Sizes and layers of the text encoder. */
export function checkModel(request: JobRequest, model: ModelInfo, limits: RequestLimits, blame: Blame): void {
  for (const name of ['width', 'height'] as const) {
    const value = request[name]
    if (value === undefined || value % model.size_multiple === 0) continue
    const below = Math.floor(value / model.size_multiple) * model.size_multiple
    const close = [below, below + model.size_multiple].filter(
      (size) => size >= limits.minSize && size <= limits.maxSize,
    )
    const rule = `a multiple of ${model.size_multiple} for the model ${model.name}`
    blame(name, `${name} must be ${rule}, but was ${value}; nearest: ${close.join(' and ')}.`)
  }
  const { clip_skip } = request
  if (clip_skip !== undefined && clip_skip > model.clip_layers) {
    const rule = `from 1 to ${model.clip_layers}, the layers of the text encoder of ${model.name}`
    blame('clip_skip', `clip_skip must be ${rule}, but was ${clip_skip}.`)
  }
}

/** The VAE that a request names, in the installation's spelling. */
export function resolveVae(
  { vae }: JobRequest,
  model: ModelInfo,
  { vaes }: Offer,
  blame: Blame,
): Pick<ResolvedRequest, 'vae'> {
  const fitting = namesFor(model, vaes)
  if (vae === undefined) {
    if (model.needs_vae !== true) return {}
    if (model.default_vae !== undefined) return { vae: model.default_vae }
    blame(
      'vae',
      `vae is missing: the model ${model.name} has none of its own; name one of ${listed(fitting)}.`,
    )
    return {}
  }
  const found = findNamed(vaes, vae)
  const reason = found && whyNot(found, model)
  if (found !== undefined && reason === undefined) return { vae: found.name }
  if (found !== undefined) blame('vae', `The VAE ${found.name} ${reason}.`)
  else if (fitting.length === 0)
    blame('vae', `vae must be absent: the model ${model.name} has no VAE but its own.`)
  else blame('vae', `vae must be one of ${listed(fitting)}, but was ${describeValue(vae)}.`)
  return {}
}

/** `init_image`, `strength`, `mask` and `keep`, if given. */
export function givenImages(
  { init_image, strength, mask, keep, vae }: JobRequest,
  model: ModelInfo,
  blame: Blame,
): Pick<ResolvedRequest, 'init_image' | 'strength' | 'mask' | 'keep'> {
  if (init_image === undefined) {
    if (model.inpainting) {
      blame('init_image', `init_image is missing: the model ${model.name} only inpaints.`)
    }
    for (const [name, value] of Object.entries({ strength, mask, keep })) {
      if (value !== undefined) blame(name, `${name} requires init_image.`)
    }
    return {}
  }
  // nothing is encoded
  if (!model.image_to_image && vae === undefined && strength !== 0) {
    blame(
      'init_image',
      `init_image must be absent: the VAE of the model ${model.name} cannot read pictures (it has no encoder).`,
    )
  }
  if (strength === 0 && mask !== undefined && keep === undefined) {
    blame('mask', 'mask requires a strength above 0, or keep: with 0 nothing is repainted.')
  }
  return {
    init_image,
    strength: strength ?? defaultStrength,
    ...(mask === undefined ? {} : { mask }),
    ...(keep === undefined ? {} : { keep }),
  }
}
