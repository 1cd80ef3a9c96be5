import type { Caller } from '../../../jobs/caller.ts'
import { AppError } from '../../../jobs/errors.ts'
import { findNamed, type ModelInfo, type Offer, whyNot } from '../../../jobs/offer.ts'
import { describeValue, listed } from '../../../jobs/wording.ts'
import type { Services } from '../../services.ts'
import { given } from '../json-bodies.ts'

/**
 * The settings of the web UI that its clients change once and then rely on (SillyTavern and Open WebUI choose the model
 * so). They are kept per caller, so that any server knows them; when they are lost the defaults are back.
 */

export interface Settings {
  readonly model: ModelInfo
  /** Absent: the model's own. */
  readonly vae?: string
  readonly clipSkip: number
}

type Fields = Readonly<Record<string, unknown>>

const noteName = 'a1111:options'
const keptSeconds = 7 * 86_400
const names = ['sd_model_checkpoint', 'sd_vae', 'CLIP_stop_at_last_layers'] as const
const ownVae = ['automatic', 'none', '']

/** What the caller chose, as it was sent; what is no longer offered counts as not chosen. */
async function chosen(services: Services, caller: Caller): Promise<Fields> {
  const text = await services.noted(caller, noteName)
  return text === undefined ? {} : (JSON.parse(text) as Fields)
}

/** The settings of the caller. */
export async function settingsOf(services: Services, caller: Caller): Promise<Settings> {
  const offer = services.offer()
  const fields = await chosen(services, caller)
  try {
    return applied(offer, defaults(offer), fields)
  } catch {
    return defaults(offer)
  }
}

/** Keeps those settings of a body that are known here. Rejects like `applied`. */
export async function choose(services: Services, caller: Caller, fields: Fields): Promise<void> {
  const before = await chosen(services, caller)
  const known = Object.fromEntries(
    names.flatMap((name) => {
      const value = given(fields, name)
      return value === undefined ? [] : [[name, value]]
    }),
  )
  if (Object.keys(known).length === 0) return
  const offer = services.offer()
  applied(offer, defaults(offer), known)
  // a VAE chosen for another model stays chosen only if it fits
  const all = { ...before, ...known }
  await services.note(caller, noteName, JSON.stringify(fits(offer, all) ? all : known), keptSeconds)
}

function fits(offer: Offer, fields: Fields): boolean {
  try {
    applied(offer, defaults(offer), fields)
    return true
  } catch {
    return false
  }
}

function defaults({ models }: Offer): Settings {
  const [model] = models
  if (model === undefined) throw new AppError('unavailable', 'There is no model.')
  return { model, clipSkip: 1 }
}

/** The settings with those of a body in their place. Rejects `not_found` for a name that is not offered, `invalid_request`. */
export function applied(offer: Offer, settings: Settings, fields: Fields): Settings {
  const checkpoint = given(fields, 'sd_model_checkpoint')
  const model = checkpoint === undefined || checkpoint === '' ? settings.model : modelNamed(offer, checkpoint)
  const vae = given(fields, 'sd_vae')
  const layers = given(fields, 'CLIP_stop_at_last_layers') ?? settings.clipSkip
  if (!Number.isInteger(layers) || Number(layers) < 1 || Number(layers) > model.clip_layers) {
    throw new AppError(
      'invalid_request',
      `CLIP_stop_at_last_layers must be a whole number from 1 to ${model.clip_layers}, but was ${describeValue(layers)}.`,
      { param: 'CLIP_stop_at_last_layers' },
    )
  }
  const name = vae === undefined ? settings.vae : vaeNamed(offer, model, vae)
  return { model, clipSkip: Number(layers), ...(name === undefined ? {} : { vae: name }) }
}

/** By its title, with or without a hash in brackets, a folder and an extension. */
function modelNamed({ models }: Offer, value: unknown): ModelInfo {
  const found = findNamed(models, plainName(value))
  if (found !== undefined) return found
  const all = listed(models.map(({ name }) => name))
  throw new AppError(
    'not_found',
    `sd_model_checkpoint must be one of ${all}, but was ${describeValue(value)}.`,
    { param: 'sd_model_checkpoint' },
  )
}

function vaeNamed({ vaes }: Offer, model: ModelInfo, value: unknown): string | undefined {
  if (ownVae.includes(String(value).toLowerCase())) return undefined
  const found = findNamed(vaes, plainName(value))
  const why = found === undefined ? undefined : whyNot(found, model)
  if (found !== undefined && why === undefined) return found.name
  const message =
    found === undefined ? `There is no VAE ${describeValue(value)}.` : `The VAE ${found.name} ${why}.`
  throw new AppError('not_found', message, { param: 'sd_vae' })
}

function plainName(value: unknown): string {
  const text = String(value).slice(0, 300)
  const file =
    text
      .replace(/ \[[0-9a-f]{6,64}\]$/i, '')
      .split(/[\\/]/)
      .at(-1) ?? ''
  return file.replace(/\.(safetensors|ckpt|pt)$/i, '')
}
