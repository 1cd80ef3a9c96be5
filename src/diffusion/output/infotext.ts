import { basename } from 'node:path'
import type { LoraFile, PictureRequest } from '../request.ts'
import { samplerEntry, scheduleLabels } from '../samplers/catalog.ts'

/** What a picture was made with: names of model and VAE, version of the program. */
interface MadeBy {
  readonly model: string
  /** Absent for the model's own. */
  readonly vae?: string | undefined
  readonly version: string
}

/**
 * How a picture was made, in the format of AUTOMATIC1111's web UI (create_infotext in modules/processing.py). Values
 * with a comma, colon or line break are quoted as JSON.
 */
export function infotext(request: PictureRequest, { model, vae, version }: MadeBy): string {
  const { clipSkip = 1, loras = [], image } = request
  const fields: Record<string, string | number> = {
    Steps: request.steps,
    Sampler: samplerEntry(request.sampler).label,
    'Schedule type': scheduleLabels[request.schedule],
    'CFG scale': request.guidanceScale,
    Seed: request.seed,
    Size: `${request.width}x${request.height}`,
    Model: model,
    ...(vae !== undefined && { VAE: vae }),
    ...(image && { 'Denoising strength': image.strength }),
    ...(clipSkip > 1 && { 'Clip skip': clipSkip }),
    Version: `Packshot ${version}`,
  }
  const line = Object.entries(fields)
    .map(([name, value]) => `${name}: ${/[,:\n]/.test(String(value)) ? JSON.stringify(value) : value}`)
    .join(', ')
  const negative = request.negativePrompt === '' ? [] : [`Negative prompt: ${request.negativePrompt}`]
  const prompt = [request.prompt, ...loras.map(loraTag)].join(' ')
  return [prompt, ...negative, line].join('\n')
}

/** AUTOMATIC1111 looks for LoRAs in the prompt; of two strengths the first is for the text encoder. */
function loraTag({ file, strength, textStrength = strength }: LoraFile): string {
  const strengths = textStrength === strength ? [strength] : [textStrength, strength]
  return `<lora:${[basename(file, '.safetensors'), ...strengths].join(':')}>`
}
