import type { TextToImageRequest } from './text-to-image.ts'

const samplerNames = { dpmpp_2m: 'DPM++ 2M', dpmpp_2m_sde: 'DPM++ 2M SDE' } as const
const scheduleNames = {
  karras: 'Karras',
  normal: 'Normal',
  exponential: 'Exponential',
  sgm_uniform: 'SGM Uniform',
  leading: 'Leading',
  lu: 'Lu',
} as const

/**
 * How a picture was made, in the form that AUTOMATIC1111's web UI writes and reads (create_infotext in
 * modules/processing.py). Values that hold a comma, colon or line break are quoted as JSON.
 */
export function infotext(request: TextToImageRequest, model: string, version: string): string {
  const fields: Record<string, string | number> = {
    Steps: request.steps,
    Sampler: samplerNames[request.sampler],
    'Schedule type': scheduleNames[request.schedule],
    'CFG scale': request.guidanceScale,
    Seed: request.seed,
    Size: `${request.width}x${request.height}`,
    Model: model,
    Version: `Packshot ${version}`,
  }
  const line = Object.entries(fields)
    .map(([name, value]) => `${name}: ${/[,:\n]/.test(String(value)) ? JSON.stringify(value) : value}`)
    .join(', ')
  const negative = request.negativePrompt === '' ? [] : [`Negative prompt: ${request.negativePrompt}`]
  return [request.prompt, ...negative, line].join('\n')
}
