import { join } from 'node:path'
import { openEngine } from '../../../src/diffusion/engine.ts'
import { engineRequestOf, loadGolden, pixelDifference, relativeError, type TinyMeta } from '../golden.ts'
import type { ParityRow } from './row.ts'

/** Every layer that is large enough in fewer products, whatever its channels, compared with diffusers. */

const area = 'convolutions in fewer products'

export async function* rows(): AsyncGenerator<ParityRow> {
  const golden = await loadGolden<TinyMeta>('golden')
  const model = join(import.meta.dirname, '../tiny-sd')
  const engine = await openEngine({ model, provider: 'cpu', threads: 1, winogradFrom: 1 })
  const part = (row: string, actual: Float32Array, expected: Float32Array): ParityRow => {
    return { area, row, measure: 'part', difference: relativeError(actual, expected), limit: 1e-4 }
  }
  try {
    const size = { height: 16, width: 16 }
    const first = (name: string) => golden.floats(name).slice(0, golden.floats(name).length / 2)
    const timestep = golden.integers('unet.16x16.timestep')[0] as number
    const text = { states: first('unet.text'), tokens: 77 }
    const prediction = engine.networks().predict(first('unet.16x16.latents'), timestep, text, size)
    yield part('UNet, 16x16', await prediction, first('unet.16x16.noise_pred'))
    for (const [height, width] of [
      [16, 16],
      [9, 13],
    ] as const) {
      const name = `vae_decode.${height}x${width}`
      const scaled = golden.floats(`${name}.latents`).map((value) => value * 0.18215)
      const picture = await engine.networks().decode(scaled, { height, width })
      yield part(`decoder, ${height}x${width}`, picture, golden.floats(`${name}.image`))
    }
    for (const name of ['square', 'wide', 'unguided']) {
      const { request } = golden.meta.pictures[name]!
      const { rgb } = await engine.generate(engineRequestOf(request))
      const difference = pixelDifference(rgb, golden.bytes(`picture.${name}.pixels`))
      yield {
        area,
        row: `20 steps, ${request.width}x${request.height}, ${name}`,
        measure: 'picture',
        difference,
        limit: 2,
      }
    }
  } finally {
    await engine.close()
  }
}
