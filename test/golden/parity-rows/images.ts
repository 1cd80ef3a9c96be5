import { toPlanes } from '../../../src/diffusion/planes.ts'
import { pixelDifference, relativeError } from '../golden.ts'
import { ImageRuns } from '../image-runs.ts'
import type { ParityRow } from './row.ts'

const areas = {
  img2img: 'image to image',
  inpaint: 'inpainting',
  inpaint9: 'inpainting, UNet with 9 channels',
} as const

/** VAE encoder, image to image and inpainting, by the numbers of make_image_golden.py. */
export async function* rows(): AsyncIterable<ParityRow> {
  const runs = await ImageRuns.open()
  const { golden } = runs
  const part = (area: string, row: string, actual: Float32Array, expected: string): ParityRow => {
    const difference = relativeError(actual, golden.floats(expected))
    return { area, row, measure: 'part', difference, limit: 1e-4 }
  }
  try {
    for (const name of ['square', 'wide']) {
      const source = runs.source(name)
      const moments = await runs.encode(toPlanes(source), source.height, source.width)
      yield part('VAE encoder', `${source.width}x${source.height}`, moments, `moments.${name}`)
    }
    for (const [name, run] of Object.entries(golden.meta.runs)) {
      const area = areas[run.kind]
      const from = run.source === 'grey' ? 'from words alone' : `strength ${run.strength}`
      const row = `${run.sampler} ${run.schedule}, ${from}`
      const painted = await runs.paint(name)
      yield part(area, `${row}: first sample`, painted.start, `${name}.start`)
      yield part(area, `${row}: last latents`, painted.latents, `${name}.latents`)
      const difference = pixelDifference(painted.pixels, golden.bytes(`${name}.pixels`))
      yield { area, row, measure: 'picture', difference, limit: 2 }
    }
  } finally {
    await runs.close()
  }
}
