import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { StoredTensor } from '../safetensors/safetensors.ts'
import { fewStepsOf } from './few-steps.ts'

const nothing = { metadata: new Map<string, string>(), tensors: new Map<string, StoredTensor>(), own: {} }

function read(more: Partial<Parameters<typeof fewStepsOf>[0]>) {
  const remarks: string[] = []
  const paces = fewStepsOf({ name: 'x', ...nothing, ...more }, (text) => remarks.push(text))
  return { paces, remarks }
}

const summary = (name: string) => {
  const { paces = {} } = read({ name })
  return Object.entries(paces).map(([pace, { sampler, steps, guidanceScale, eta }]) =>
    [pace, sampler, steps, guidanceScale, eta].filter((each) => each !== undefined).join(' '),
  )
}

for (const [name, ...expected] of [
  ['lcm-lora-sdv1-5', 'quick lcm 4 1', 'instant lcm 2 1'],
  ['LCM_LoRA_Weights_SD15', 'quick lcm 4 1', 'instant lcm 2 1'],
  ['TCD-SD15-LoRA', 'quick tcd 4 1 0.3'],
  ['Hyper-SD15-1step-lora', 'instant tcd 1 1 1', 'quick tcd 4 1 0.3'],
  ['Hyper-SD15-2steps-lora', 'instant ddim 2 1'],
  ['hyper_sd15_4steps_lora', 'quick ddim 4 1'],
  ['Hyper-SD15-8steps-lora', 'quick ddim 8 1'],
  ['Hyper-SD15-8steps-CFG-lora', 'quick ddim 8 5'],
  ['Hyper-SD15-12steps-CFG-lora', 'quick ddim 12 5'],
  ['Hyper-SD15-3steps-lora'],
  ['detail'],
  ['hyperrealism-lora'],
  ['calcmachine'],
] as const) {
  test(`what the name ${name} says of steps`, () => assert.deepEqual(summary(name), expected))
}

test('a renamed file is known by the title in its metadata, and beside it by what is declared', () => {
  const metadata = new Map([['modelspec.title', 'Hyper-SD15-4steps-lora']])
  assert.equal(read({ metadata }).paces?.quick?.steps, 4)
  assert.equal(read({ metadata, own: { few_steps: false } }).paces, undefined)
  assert.equal(read({ own: { few_steps: 'hyper-1step' } }).paces?.instant?.eta, 1)
  const own = { few_steps: { instant: { sampler: 'LCM', timesteps: [800] } } }
  const { instant } = read({ own }).paces ?? {}
  assert.deepEqual(instant, {
    sampler: 'lcm',
    schedule: 'sgm_uniform',
    steps: 1,
    guidanceScale: 1,
    timesteps: [800],
    order: 0,
  })
})

test('a declaration that is none is passed over, and said', () => {
  for (const [few_steps, why] of [
    ['turbo', /must be one of lcm, tcd/],
    [3, /must be a name or an object/],
    [{ slow: {} }, /has "slow"/],
    [{ quick: { sampler: 'warp', steps: 4 } }, /needs a sampler/],
    [{ quick: { sampler: 'tcd', steps: 0 } }, /needs 1 to 50 steps/],
    [{ quick: { sampler: 'lcm', steps: 4, eta: 0.3 } }, /needs an eta/],
    [{ quick: { sampler: 'lcm', timesteps: [10, 20] } }, /needs falling timesteps/],
    [{ quick: { sampler: 'ddim karras', steps: 4 } }, /needs a schedule/],
  ] as const) {
    const { paces, remarks } = read({ own: { few_steps } })
    assert.equal(paces, undefined)
    assert.match(remarks.join(), why)
  }
})

test('a LoRA laid out as the distilled ones are is no guess, but a hint', () => {
  const tensor: StoredTensor = { key: '', dtype: 'F16', shape: [64, 1280], offset: 0, length: 0 }
  const tensors = new Map([['lora_unet_mid_block_resnets_0_time_emb_proj.lora_down.weight', tensor]])
  const { paces, remarks } = read({ name: 'pytorch_lora_weights', tensors })
  assert.equal(paces, undefined)
  assert.match(remarks.join(), /write \{"few_steps": "lcm"\}.* into pytorch_lora_weights\.json/)
  assert.deepEqual(read({ tensors, metadata: new Map([['ss_network_dim', '64']]) }).remarks, [])
})
