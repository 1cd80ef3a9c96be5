import assert from 'node:assert/strict'
import { cpSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { type Cleanup, tempFolder } from '../../test/cleanup.ts'
import { contentOf, rrdbShapes, srvggShapes, taesdShapes } from '../../test/golden/enlarge-weights.ts'
import { tinyCheckpoint, writeSafetensors } from '../../test/golden/parity/variants.ts'
import { pixels, startGenerator } from '../../test/models/generator.ts'
import { pictureReader } from '../adapters/pictures/picture-reader.ts'
import { fitRaster } from '../adapters/pictures/resize.ts'
import type { Picture } from '../diffusion/request.ts'
import type { ResolvedRequest } from '../jobs/job.ts'
import { stepsOf } from '../jobs/pictures.ts'
import type { GeneratedImage } from '../jobs/ports.ts'
import { enlargedFor } from './enlarged.ts'
import { judge } from './gate.ts'

/** Larger pictures by the inference thread, with the real engine and small networks. */

function modelsFolder(t: Cleanup): string {
  const dir = tempFolder(t)
  for (const name of ['upscalers', 'tiny_vae']) mkdirSync(join(dir, name))
  cpSync(tinyCheckpoint, join(dir, 'one.safetensors'))
  const compact = contentOf(srvggShapes({ num_feat: 8, num_conv: 2, upscale: 4 }))
  writeSafetensors(join(dir, 'upscalers/four.safetensors'), compact)
  const dense = contentOf(rrdbShapes({ num_feat: 8, num_block: 1, num_grow_ch: 4, scale: 2 }))
  writeSafetensors(join(dir, 'upscalers/two.safetensors'), dense)
  writeSafetensors(join(dir, 'tiny_vae/taesd.safetensors'), contentOf(taesdShapes()))
  writeSafetensors(join(dir, 'tiny_vae/a misfit.safetensors'), contentOf(taesdShapes(8)))
  return dir
}

const base: ResolvedRequest = {
  prompt: 'a red apple',
  negative_prompt: 'blurry',
  width: 64,
  height: 48,
  steps: 4,
  guidance_scale: 5,
  sampler: 'euler_ancestral',
  schedule: 'karras',
  seed: 7,
  count: 1,
  model: 'one',
  format: 'png',
}

function generator(t: Cleanup) {
  const { thread } = startGenerator(t, { PACKSHOT_MODELS_DIR: modelsFolder(t), PACKSHOT_MODEL: 'one' })
  return async (fields: Partial<ResolvedRequest>, init?: Uint8Array) => {
    const steps: number[] = []
    const request = { ...base, ...fields }
    const options = {
      signal: new AbortController().signal,
      onProgress: ({ step }: { step: number }) => steps.push(step),
      ...(init && { images: { init } }),
    }
    const made: GeneratedImage[] = []
    for await (const image of thread.generate(request, options)) made.push(image)
    return {
      ...(made[0] as GeneratedImage),
      steps,
      text: Buffer.from(made[0]?.bytes ?? []).toString('latin1'),
    }
  }
}

/** As it is stored when it is uploaded. */
async function uploaded({ bytes }: GeneratedImage): Promise<Uint8Array> {
  const limits = { bytes: 1e8, pixels: 1e8, longest: 10_000, kept: 1024 * 1024 }
  return (await pictureReader().normalise(bytes, limits)).png
}

test('hires equals two jobs by hand, bit for bit: with Lanczos, and with an upscaler', async (t) => {
  const make = generator(t)
  const larger = { width: 128, height: 96, steps: 6, strength: 0.5 }
  const first = await make({})
  const again = { width: 128, height: 96, steps: 6, strength: 0.5, init_image: 'first' }
  const byHand = await make(again, await uploaded(first))
  const at = await make({ hires: larger })
  assert.deepEqual(pixels(at), pixels(byHand))
  assert.deepEqual([at.width, at.height], [128, 96])
  assert.deepEqual(
    at.steps,
    Array.from({ length: stepsOf({ ...base, hires: larger }) }, (_, i) => i + 1),
  )
  assert.match(
    at.text,
    /Size: 64x48,.* Denoising strength: 0\.5, Hires upscale: 2, Hires steps: 6, Hires upscaler: Lanczos/,
  )

  const enlarged = await make({ upscaler: 'two' })
  assert.deepEqual([enlarged.width, enlarged.height], [128, 96])
  const withUpscaler = await make({ hires: { ...larger, upscaler: 'two' } })
  assert.deepEqual(pixels(withUpscaler), pixels(await make(again, await uploaded(enlarged))))
  assert.notDeepEqual(pixels(withUpscaler), pixels(at))
})

test('an upscaler multiplies the delivered size, by its name; one that is not there is said so', async (t) => {
  const make = generator(t)
  const made = await make({ upscaler: 'Four', count: 1 })
  assert.deepEqual([made.width, made.height], [256, 192])
  assert.match(made.text, /Size: 64x48,.* Postprocess upscaler: Four/)
  assert.deepEqual(pixels(await make({ upscaler: 'four' })), pixels(made))
  await assert.rejects(make({ upscaler: 'five' }), {
    code: 'unavailable',
    message: 'No worker that tried this job has the upscaler five in a usable form.',
  })
})

test('a finish that enlarges begins with the upscaler, its matte in that size; one that makes smaller does not', async () => {
  const [width, height] = [64, 48]
  const inside = (i: number) => i % width >= 16 && i % width < 48 && i >= 12 * width && i < 36 * width
  const alpha = Uint8Array.from({ length: width * height }, (_, i) => (inside(i) ? 255 : 0))
  const rgb = Uint8Array.from({ length: 3 * width * height }, (_, i) =>
    inside(Math.floor(i / 3)) ? 40 + (i % 90) : 250,
  )
  const picture = { rgb, width, height }
  const judged = await judge(picture, { alpha: async () => alpha }, [])
  const margin = { top: 0, right: 0, bottom: 0, left: 0 }
  const finish = { background: '#ffffff', fill: 80, width: 256, height: 192, margin, shadow: 'none' } as const
  const enlarge = (small: Picture) => fitRaster(small, 4 * width, 4 * height)
  const larger = await enlargedFor(judged, finish, enlarge)
  assert.deepEqual([larger.picture.width, larger.alpha.length], [4 * width, 16 * width * height])
  const {
    left,
    top,
    width: wide,
    height: high,
  } = larger.found?.box ?? { left: 0, top: 0, width: 0, height: 0 }
  for (const [found, expected] of [
    [left, 64],
    [top, 48],
    [wide, 128],
    [high, 96],
  ] as const)
    assert.ok(Math.abs(found - expected) <= 3, `${found} is near ${expected}`)
  assert.equal(await enlargedFor(judged, { ...finish, width: 32, height: 24 }, enlarge), judged)
})

test('a tiny decoder is found by its name, and the file names it', async (t) => {
  const make = generator(t)
  const full = await make({})
  const tiny = await make({ decoder: 'TAESD' })
  assert.notDeepEqual(pixels(tiny), pixels(full))
  assert.match(tiny.text, /Packshot decoder: TAESD/)
  assert.doesNotMatch(full.text, /decoder/)
  await assert.rejects(make({ decoder: 'taesd9' }), { code: 'unavailable' })
  await assert.rejects(make({ decoder: 'a misfit' }), { code: 'model_invalid' })
})
