import assert from 'node:assert/strict'
import { cp, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { openModel } from '../../src/diffusion/checkpoint/model.ts'
import { samplerCatalog } from '../../src/diffusion/samplers/catalog.ts'
import { createSampler } from '../../src/diffusion/samplers/create-sampler.ts'
import { tempFolder } from '../cleanup.ts'
import { sd15Noise } from './parity-rows/samplers.ts'
import { rows } from './parity-rows/zero-snr.ts'

test('pictures of a checkpoint with zero terminal SNR equal those of diffusers', async (t) => {
  let count = 0
  for await (const { row, difference, limit } of rows()) {
    count += 1
    await t.test(row, () => assert.ok(difference <= limit, `${difference}/255`))
  }
  assert.equal(count, 3)
})

test('a folder says by its scheduler that it was trained with zero terminal SNR', async (t) => {
  const folder = join(tempFolder(t), 'model')
  await cp(join(import.meta.dirname, 'tiny-sd'), folder, { recursive: true })
  const file = join(folder, 'scheduler/scheduler_config.json')
  const config = await readFile(file, 'utf8')
  const noise = async (value: string) => {
    await writeFile(
      file,
      config.replace('"rescale_betas_zero_snr": false', `"rescale_betas_zero_snr": ${value}`),
    )
    return (await openModel(folder)).architecture.noise
  }
  assert.equal((await noise('true')).rescale_betas_zero_snr, true)
  assert.equal((await noise('null')).rescale_betas_zero_snr, false)
  assert.equal((await noise('false')).rescale_betas_zero_snr, false)
})

for (const { name, schedules } of samplerCatalog) {
  for (const schedule of schedules) {
    for (const prediction of ['epsilon', 'v_prediction'] as const) {
      test(`zero terminal SNR gives numbers, not infinities: ${name} ${schedule}, ${prediction}`, () => {
        const noise = { ...sd15Noise(prediction), rescale_betas_zero_snr: true }
        const sampler = createSampler({ sampler: name, schedule, steps: 6, noise }, () =>
          new Float32Array(4).fill(0.5),
        )
        let sample: Float32Array = Float32Array.from([1, -1, 0.5, 0], (value) => value * sampler.initialScale)
        for (const call of sampler.timesteps.keys()) {
          sample = sampler.step(
            sample.map((value) => 0.5 * value * sampler.scaleInput(call)),
            call,
            sample,
          )
        }
        assert.ok(sample.every(Number.isFinite), String(sample))
      })
    }
  }
}
