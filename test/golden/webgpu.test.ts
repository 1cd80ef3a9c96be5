import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { ProviderError } from '../../src/diffusion/errors.ts'
import { findDevice } from '../../src/diffusion/runtime/provider.ts'
import { ensureChromium } from '../browser/chromium.ts'

const run = promisify(execFile)
/** Vulkan on a CPU, which Debian's Chromium brings: very slow, and computes what a GPU would. */
const swiftShader = {
  LD_LIBRARY_PATH: '/usr/lib/chromium',
  VK_DRIVER_FILES: '/usr/lib/chromium/vk_swiftshader_icd.json',
}

test('what WebGPU computes of a tiny model is what diffusers computes', async () => {
  const program = new URL('webgpu-parts.ts', import.meta.url).pathname
  await ensureChromium()
  // elsewhere the machine's own GPU has to do
  const driver = existsSync(swiftShader.VK_DRIVER_FILES) ? swiftShader : {}
  const { stdout } = await run(process.execPath, [program], { env: { ...process.env, ...driver } })
  const { unet, vae, precision } = JSON.parse(stdout.trim().split('\n').at(-1) ?? '')
  const limit = precision === 'float32' ? 1e-4 : 2e-2
  assert.ok(unet <= limit && vae <= limit, `UNet ${unet}, VAE ${vae}`)
})

test('a provider that is not there is refused with what it needs, or passed over with a word', async (t) => {
  const refusal = await findDevice(['cuda']).catch((thrown: unknown) => thrown)
  if (!(refusal instanceof ProviderError)) return t.skip('this machine has CUDA')
  assert.match(refusal.message, /The provider cuda cannot be used here: .+\. It needs an NVIDIA GPU/)
  const { provider, precision, passedOver } = await findDevice(['cuda', 'cpu'])
  assert.deepEqual([provider, precision], ['cpu', 'float32'])
  assert.match(passedOver.join(), /^The provider cuda/)
})
