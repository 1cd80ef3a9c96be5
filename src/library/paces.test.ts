import assert from 'node:assert/strict'
import { copyFile, cp, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { tempFolder } from '../../test/cleanup.ts'
import { AppError } from '../jobs/errors.ts'
import { defaultLimits } from '../jobs/fields.ts'
import { versionOf } from '../jobs/job.ts'
import type { Offer } from '../jobs/offer.ts'
import { pacesOf } from '../jobs/paces.ts'
import { resolveRequest } from '../jobs/request/resolve.ts'
import { workUnits } from '../jobs/work.ts'
import { Library } from './library.ts'
import { offerOf } from './offer-source.ts'

const golden = join(import.meta.dirname, '../../test/golden')
const lora = (name: string) => join(golden, 'parity/loras', `${name}.safetensors`)

/** A models folder with the tiny model and these LoRAs, and what it offers. */
async function offered(t: TestContext, loras: Readonly<Record<string, string>>): Promise<Offer> {
  const modelsDir = tempFolder(t)
  await cp(join(golden, 'tiny-sd'), join(modelsDir, 'tiny'), { recursive: true })
  await mkdir(join(modelsDir, 'loras'))
  for (const [name, from] of Object.entries(loras))
    await copyFile(lora(from), join(modelsDir, 'loras', `${name}.safetensors`))
  await writeFile(join(modelsDir, 'loras/house.json'), JSON.stringify(declared))
  return offerOf(await new Library({ model: 'tiny', modelsDir }).read())
}

const declared = { few_steps: { instant: { sampler: 'lcm', timesteps: [800] } } }
const several = {
  'Hyper-SD15-1step-lora': 'few-hyper',
  'Hyper-SD15-4steps-lora': 'few-hyper',
  'lcm-lora-sdv1-5': 'few-lcm',
  'TCD-SD15-LoRA': 'few-tcd',
  'picture-a': 'picture-a',
}

const resolve = (offer: Offer, body: object) =>
  resolveRequest({ prompt: 'x', ...body }, offer, defaultLimits, 1).request

function faultOf(offer: Offer, body: object): string {
  try {
    resolve(offer, body)
  } catch (thrown) {
    if (thrown instanceof AppError) return thrown.message
    throw thrown
  }
  return ''
}

test('a pace adds its LoRA and settings, all decided in the task, and costs what they cost', async (t) => {
  const offer = await offered(t, several)
  const quality = resolve(offer, {})
  assert.equal(quality.pace, undefined)
  assert.equal(versionOf(quality), 2)
  assert.deepEqual(resolve(offer, { pace: 'quality' }), quality)

  const quick = resolve(offer, { pace: 'quick' })
  const { sampler, schedule, steps, guidance_scale, loras, pace } = quick
  assert.deepEqual(
    { sampler, schedule, steps, guidance_scale, loras, pace },
    {
      sampler: 'ddim',
      schedule: 'sgm_uniform',
      steps: 4,
      guidance_scale: 1,
      loras: [{ name: 'Hyper-SD15-4steps-lora', strength: 1 }],
      pace: 'quick',
    },
  )
  assert.equal(versionOf(quick), 5)
  const instant = resolve(offer, { pace: 'instant' })
  assert.equal(instant.eta, 1)
  assert.equal(instant.steps, 1)
  // twenty guided steps, four and one without
  const megapixels = (quality.width * quality.height) / 1e6
  assert.deepEqual(
    [quality, quick, instant].map((each) => Math.round(workUnits(each) / megapixels)),
    [2 * quality.steps, 4, 1],
  )
})

test('fields of the request win over those of a pace', async (t) => {
  const offer = await offered(t, several)
  const named = resolve(offer, { pace: 'quick', loras: [{ name: 'lcm-lora-sdv1-5', strength: 0.8 }] })
  assert.deepEqual([named.sampler, named.loras], ['lcm', [{ name: 'lcm-lora-sdv1-5', strength: 0.8 }]])
  const inPrompt = resolve(offer, { prompt: 'x <lora:TCD-SD15-LoRA:0.9>', pace: 'quick', eta: 0.7 })
  assert.deepEqual([inPrompt.sampler, inPrompt.eta, inPrompt.loras?.length], ['tcd', 0.7, 1])
  const other = resolve(offer, { pace: 'instant', sampler: 'Euler', guidance_scale: 2, steps: 3 })
  assert.deepEqual(
    [other.sampler, other.schedule, other.eta, other.guidance_scale, other.steps],
    ['euler', 'normal', undefined, 2, 3],
  )
  const spaced = resolve(offer, { pace: 'quick', sampler: 'DDIM Leading' })
  assert.deepEqual([spaced.sampler, spaced.schedule], ['ddim', 'leading'])
  const styled = resolve(offer, { pace: 'quick', loras: [{ name: 'picture-a' }] })
  assert.deepEqual(
    styled.loras?.map(({ name }) => name),
    ['picture-a', 'Hyper-SD15-4steps-lora'],
  )
})

test('of a picture that begins with another, a pace leaves the steps that it means', async (t) => {
  const offer = await offered(t, several)
  const init_image = 'upload'
  assert.equal(resolve(offer, { pace: 'instant', init_image, strength: 0.5 }).steps, 2)
  assert.equal(resolve(offer, { pace: 'quick', init_image }).steps, 6)
  assert.equal(resolve(offer, { pace: 'quick', init_image, steps: 3 }).steps, 3)
})

test('what is declared beside a file counts, with its timesteps', async (t) => {
  const offer = await offered(t, { house: 'few-tcd' })
  const { timesteps, steps, sampler } = resolve(offer, { pace: 'instant' })
  assert.deepEqual({ timesteps, steps, sampler }, { timesteps: [800], steps: 1, sampler: 'lcm' })
  const { timesteps: none, steps: two } = resolve(offer, { pace: 'instant', steps: 2 })
  assert.deepEqual([none, two], [undefined, 2])
})

test('a pace that a model lacks is refused with what to add, and listed with the reason', async (t) => {
  const offer = await offered(t, { 'picture-a': 'picture-a' })
  const [tiny] = offer.models
  assert.match(faultOf(offer, { pace: 'quick' }), /tiny has no LoRA for the pace quick.* None is published/)
  const { own_widths: _, ...usual } = tiny!
  const standard = { ...offer, models: [usual] }
  assert.match(
    faultOf(standard, { pace: 'quick' }),
    /Add one with: npm run models -- add ByteDance\/Hyper-SD:Hyper-SD15-4steps-lora\.safetensors/,
  )
  assert.deepEqual(
    pacesOf(usual, offer.loras).map(({ name, available, missing }) => [
      name,
      available,
      missing !== undefined,
    ]),
    [
      ['quality', true, false],
      ['quick', false, true],
      ['instant', false, true],
    ],
  )
  const crowd = Array.from({ length: defaultLimits.maxLoras }, (_, i) => [`style ${i}`, 'picture-a'])
  const full = await offered(t, { ...several, ...Object.fromEntries(crowd) })
  const loras = crowd.map(([name]) => ({ name }))
  assert.match(faultOf(full, { pace: 'quick', loras }), /adds the LoRA Hyper-SD15-4steps-lora.*remove one/)
})

test('eta, timesteps and the end of guidance are checked', async (t) => {
  const offer = await offered(t, {})
  assert.equal(resolve(offer, { sampler: 'tcd' }).eta, 0.3)
  assert.equal(resolve(offer, { sampler: 'tcd', eta: 0 }).eta, 0)
  assert.equal(resolve(offer, { sampler: 'ddim', eta: 0 }).eta, undefined)
  assert.equal(resolve(offer, { sampler: 'euler', timesteps: [999, 500] }).steps, 2)
  assert.equal(resolve(offer, { guidance_end: 1 }).guidance_end, undefined)
  assert.equal(resolve(offer, { guidance_end: 0.5, guidance_scale: 1 }).guidance_end, undefined)
  const half = resolve(offer, { guidance_end: 0.5, steps: 20 })
  assert.equal(half.guidance_end, 0.5)
  assert.ok(Math.abs(workUnits(half) / workUnits({ ...half, guidance_scale: 1 }) - 1.5) < 1e-9)
  for (const [body, why] of [
    [{ sampler: 'euler', eta: 0.5 }, /eta requires one of the samplers ddim, tcd/],
    [{ sampler: 'tcd', eta: 1.1 }, /eta must be a number from 0 to 1/],
    [{ sampler: 'ddim', timesteps: [800] }, /timesteps requires one of the samplers dpmpp_2m, /],
    [{ sampler: 'lcm', timesteps: [800, 800] }, /but 800 is followed by 800/],
    [{ sampler: 'lcm', timesteps: [] }, /timesteps must be a list of/],
    [{ sampler: 'lcm', timesteps: [1000] }, /timesteps must be/],
    [{ sampler: 'lcm', timesteps: [800, 1.5] }, /timesteps must be/],
    [{ sampler: 'lcm', timesteps: [800], steps: 2 }, /steps must be absent or 1/],
    [{ sampler: 'euler', timesteps: [800], schedule: 'karras' }, /schedule must be absent/],
    [{ sampler: 'tcd', timesteps: Array.from({ length: 51 }, (_, i) => 999 - i) }, /at most 50/],
    [{ guidance_end: 0 }, /guidance_end must be a number from 0.05 to 1/],
    [{ pace: 'fast' }, /pace must be one of quality, quick, instant/],
  ] as const) {
    assert.match(faultOf(offer, body), why)
  }
})
