import type { ResolvedRequest } from '../../jobs/job.ts'
import { defaultHires } from '../../jobs/larger.ts'
import { number } from './form-finish.ts'

/** The fields of the form for `hires`, and back. */

export const largerFieldNames = ['hires_scale', 'hires_strength', 'hires_steps', 'hires_upscaler'] as const
type LargerFieldName = (typeof largerFieldNames)[number]

/** `hires_scale` says whether a picture is drawn twice: how many times larger ("2"), or the size ("512x384"). */
export function hiresOf(values: Readonly<Record<LargerFieldName, string>>): Record<string, unknown> {
  const wanted = values.hires_scale.trim()
  if (wanted === '') return {}
  const [, width, height] = /^(\d{1,5})\s*[x×]\s*(\d{1,5})$/i.exec(wanted) ?? []
  const given = {
    ...(width === undefined ? { scale: number(wanted) } : { width: Number(width), height: Number(height) }),
    strength: number(values.hires_strength),
    steps: number(values.hires_steps),
    upscaler: values.hires_upscaler || undefined,
  }
  return { hires: Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) }
}

/** The same fields from a request. The scale is said if both sides have it exactly. */
export function hiresTexts({
  hires,
  width = 0,
  height = 0,
  steps,
}: Partial<ResolvedRequest>): Record<string, string> {
  if (hires === undefined) return {}
  const scale = hires.width / width
  const simple = Number.isInteger(scale * 4) && hires.height === height * scale
  return {
    hires_scale: simple ? String(scale) : `${hires.width}x${hires.height}`,
    ...(hires.strength === defaultHires.strength ? {} : { hires_strength: String(hires.strength) }),
    ...(hires.steps === steps ? {} : { hires_steps: String(hires.steps) }),
    ...(hires.upscaler === undefined ? {} : { hires_upscaler: hires.upscaler }),
  }
}
