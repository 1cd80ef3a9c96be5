import { openEngine } from '../../src/diffusion/engine.ts'
import { findDevice } from '../../src/diffusion/runtime/provider.ts'
import { loadGolden, relativeError, type TinyMeta } from './golden.ts'

/**
 * One call of UNet and decoder through WebGPU, compared with diffusers. A separate program, because the
 * Vulkan driver is chosen by the environment that a process starts with.
 */
const device = await findDevice(['webgpu'])
const golden = await loadGolden<TinyMeta>('golden')
const engine = await openEngine({ model: new URL('tiny-sd', import.meta.url).pathname, ...device })
const networks = engine.networks()
const size = { height: 9, width: 13 }
const firstRow = (name: string) => {
  const both = golden.floats(name)
  return both.slice(0, both.length / 2)
}
const timestep = golden.integers('unet.9x13.timestep')[0] as number
const text = { states: firstRow('unet.text'), tokens: 77 }
const unet = await networks.predict(firstRow('unet.9x13.latents'), timestep, text, size)
const latents = golden.floats('vae_decode.9x13.latents').map((value) => value * 0.18215)
const picture = await networks.decode(latents, size)
await engine.close()
const differences = {
  unet: relativeError(unet, firstRow('unet.9x13.noise_pred')),
  vae: relativeError(picture, golden.floats('vae_decode.9x13.image')),
}
console.log(JSON.stringify({ ...device, ...differences }))
