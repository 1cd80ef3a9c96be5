import { parse } from 'node:path'
import type { LoraFile, PictureRequest } from '../request.ts'
import { type SamplerName, type Schedule, samplerEntry, scheduleLabels } from '../samplers/catalog.ts'

/** What a picture was made with: names of model and VAE, version of the program. */
interface MadeBy {
  readonly model: string
  /** Absent for the model's own. */
  readonly vae?: string | undefined
  readonly version: string
  /** The second, larger drawing. */
  readonly hires?: HiresRun | undefined
  /** The upscaler of the finished picture. */
  readonly upscaler?: string | undefined
  /** The tiny VAE that decoded it. */
  readonly decoder?: string | undefined
  /** What became of it before it was delivered. A background of somebody's own is not named. */
  readonly finish?: { readonly background: string } | undefined
  readonly gate?: { readonly tries: number } | undefined
}

interface HiresRun {
  readonly width: number
  readonly height: number
  readonly steps: number
  readonly strength: number
  readonly upscaler?: string | undefined
}

/**
 * How a picture was made, in the format of AUTOMATIC1111's web UI (create_infotext in modules/processing.py). Values
 * with a comma, colon or line break are quoted as JSON. What that program has no name for is under a name of ours,
 * which it passes over.
 */
export function infotext(request: PictureRequest, madeBy: MadeBy): string {
  const { model, vae, version, hires, upscaler, decoder, finish, gate } = madeBy
  const { clipSkip = 1, loras = [], image, timesteps, guidanceEnd, pace, precision } = request
  const eta = request.eta ?? samplerEntry(request.sampler).defaultEta ?? 0
  const fields: Record<string, string | number> = {
    Steps: request.steps,
    ...samplerFields(request),
    'CFG scale': request.guidanceScale,
    Seed: request.seed,
    Size: `${request.width}x${request.height}`,
    Model: model,
    ...(vae !== undefined && { VAE: vae }),
    ...(image && { 'Denoising strength': image.strength }),
    ...(clipSkip > 1 && { 'Clip skip': clipSkip }),
    ...(eta > 0 && { [request.sampler === 'ddim' ? 'Eta DDIM' : 'Eta']: eta }),
    ...(hires && hiresFields(request, hires)),
    ...(upscaler !== undefined && { 'Postprocess upscaler': upscaler }),
    ...(decoder !== undefined && { 'Packshot decoder': decoder }),
    RNG: 'CPU',
    ...(timesteps && { 'Packshot timesteps': timesteps.join(' ') }),
    ...(guidanceEnd !== undefined && { 'Packshot guidance end': guidanceEnd }),
    ...(pace !== undefined && { 'Packshot pace': pace }),
    ...(finish && { 'Packshot finish': finishText(finish) }),
    ...(gate && { 'Packshot tries': gate.tries }),
    ...(precision !== undefined && { 'Packshot precision': precision }),
    Version: `Packshot ${version}`,
  }
  const line = Object.entries(fields)
    .map(([name, value]) => `${name}: ${/[,:\n]/.test(String(value)) ? JSON.stringify(value) : value}`)
    .join(', ')
  const negative = request.negativePrompt === '' ? [] : [`Negative prompt: ${request.negativePrompt}`]
  const prompt = [request.prompt, ...loras.map(loraTag)].join(' ')
  return [prompt, ...negative, line].join('\n')
}

/** Without the id of an upload: whoever has the file must not have that. */
function finishText({ background, ...others }: NonNullable<MadeBy['finish']>): string {
  const named = /^(?:as_made|transparent|#[\da-f]{6})$/i.test(background)
  return JSON.stringify({ ...(named && { background }), ...others })
}

/** As txt2img writes them there; `resize` is for a shape that is not the first picture's. */
function hiresFields(
  { width, height }: PictureRequest,
  { steps, strength, upscaler = 'Lanczos', ...to }: HiresRun,
): Record<string, string | number> {
  const scale = to.width / width
  const sameShape = Math.round(height * scale) === to.height
  return {
    'Denoising strength': strength,
    ...(sameShape ? { 'Hires upscale': scale } : { 'Hires resize': `${to.width}x${to.height}` }),
    'Hires steps': steps,
    'Hires upscaler': upscaler,
  }
}

/** Samplers and schedules that only Packshot has: to others the nearest names would promise the same picture. */
const ownSamplers: readonly SamplerName[] = ['dpmpp_2s', 'tcd']
const ownSchedules: readonly Schedule[] = ['leading', 'lu']

/** These have a spacing of their own there, and no other. */
const leadingThere: readonly SamplerName[] = ['ddim', 'pndm']

function samplerFields({ sampler, schedule }: PictureRequest): Record<string, string> {
  const { label } = samplerEntry(sampler)
  const automatic = schedule === 'leading' && leadingThere.includes(sampler)
  return {
    [ownSamplers.includes(sampler) ? 'Packshot sampler' : 'Sampler']: label,
    ...(automatic
      ? { 'Schedule type': 'Automatic' }
      : {
          [ownSchedules.includes(schedule) ? 'Packshot schedule' : 'Schedule type']: scheduleLabels[schedule],
        }),
  }
}

/** AUTOMATIC1111 looks for LoRAs in the prompt, by the names of their files; of two strengths the first is for the text encoder. */
function loraTag({ file, strength, textStrength = strength }: LoraFile): string {
  const strengths = textStrength === strength ? [strength] : [textStrength, strength]
  return `<lora:${[parse(file).name, ...strengths].join(':')}>`
}
