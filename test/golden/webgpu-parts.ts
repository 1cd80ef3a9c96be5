import { openEngine } from '../../src/diffusion/engine.ts'
import { findDevice } from '../../src/diffusion/runtime/provider.ts'
import { loadGolden, relativeError, type TinyMeta } from './golden.ts'

/**
 * Two calls of the UNet in one run, and one of the decoder, through WebGPU, compared with diffusers. A separate program, because the
 * Vulkan driver is chosen by the environment that a process starts with.
 */
const device = await findDevice(['webgpu'])
const golden = await loadGolden<TinyMeta>('golden')
const engine = await openEngine({
  model: new URL('tiny-sd', import.meta.url).pathname,
  ...device,
  together: 2,
})
const networks = engine.networks()
const size = { height: 9, width: 13 }
const rowOf = (name: string, row: 0 | 1) => {
  const both = golden.floats(name)
  return both.slice((row * both.length) / 2, ((row + 1) * both.length) / 2)
}
const timestep = golden.integers('unet.9x13.timestep')[0] as number
const errors = await Promise.all(
  ([0, 1] as const).map(async (row) => {
    const text = { states: rowOf('unet.text', row), tokens: 77 }
    const prediction = await networks.predict(rowOf('unet.9x13.latents', row), timestep, text, size)
    return relativeError(prediction, rowOf('unet.9x13.noise_pred', row))
  }),
)
const latents = golden.floats('vae_decode.9x13.latents').map((value) => value * 0.18215)
const picture = await networks.decode(latents, size)
await engine.close()
const differences = {
  unet: Math.max(...errors),
  vae: relativeError(picture, golden.floats('vae_decode.9x13.image')),
}
console.log(JSON.stringify({ ...device, ...differences }))
