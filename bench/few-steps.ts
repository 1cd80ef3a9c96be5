import { cp, mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { contentOf, taesdShapes } from '../test/golden/enlarge-weights.ts'
import { writeSafetensors } from '../test/golden/parity/variants.ts'
import { fullSizeCheckpoint } from './full-size-checkpoint.ts'
import { makePicture, npmStart } from './npm-start.ts'

/**
 * Pictures in few steps from `npm start`, with a model of Stable Diffusion 1.5's size and a TAESD, both with random weights:
 * 512x512, without guidance, from the request until the picture is stored; the median of three, after one that loads. The
 * first start prepares the weights of int8, which takes a minute.
 *
 *   npm run bench:few-steps
 */

const requests = {
  'LCM, 4 steps, tiny decoder': { sampler: 'lcm', steps: 4, decoder: 'tiny' },
  'TCD, 1 step, tiny decoder': { sampler: 'tcd', steps: 1, decoder: 'tiny' },
  'LCM, 4 steps, whole VAE': { sampler: 'lcm', steps: 4 },
}
const times = 3

const folder = await mkdtemp(join(tmpdir(), 'packshot-bench-'))
try {
  const models = join(folder, 'models')
  await mkdir(join(models, 'tiny_vae'), { recursive: true })
  await cp(await fullSizeCheckpoint(), join(models, 'sd15'), { recursive: true })
  await writeSafetensors(join(models, 'tiny_vae', 'taesd.safetensors'), contentOf(taesdShapes()))
  for (const precision of ['int8', 'exact']) {
    await using started = npmStart({
      PACKSHOT_DATA_DIR: join(folder, 'data'),
      PACKSHOT_MODELS_DIR: models,
      PACKSHOT_MODEL: 'sd15',
      PACKSHOT_PRECISION: precision,
    })
    const address = await started.address
    for (const [what, request] of Object.entries(requests)) {
      const seconds: number[] = []
      for (let time = 0; time <= times; time += 1) {
        const body = {
          prompt: 'a red apple',
          width: 512,
          height: 512,
          guidance_scale: 1,
          seed: time,
          ...request,
        }
        const { job } = await makePicture(address, body)
        const { created_at, finished_at = created_at } = job
        if (time > 0) seconds.push((Date.parse(finished_at) - Date.parse(created_at)) / 1000)
      }
      const [, middle = 0] = seconds.toSorted((a, b) => a - b)
      console.log(`${precision.padEnd(6)}  ${what.padEnd(28)}${middle.toFixed(1).padStart(6)} s`)
    }
  }
} finally {
  await rm(folder, { recursive: true })
}
