import assert from 'node:assert/strict'
import { test } from 'node:test'
import { someTask } from '../../../test/contract/jobs.ts'
import { randomOf } from '../../../test/kit/random.ts'
import { standInModel } from '../../../test/stand-in/engine.ts'
import { samplerNames } from '../../library/offer-source.ts'
import { AppError } from '../errors.ts'
import { defaultLimits, fieldEntries } from '../fields.ts'
import { finishPresets } from '../finish.ts'
import type { Offer } from '../offer.ts'
import { isTask, taskFault } from '../task-check.ts'
import { resolveRequest } from './resolve.ts'

/** What a server accepts, a worker takes: else its job would be queued for ever. */

const large = { ...standInModel, name: 'large', width: 1024, height: 1024, steps: 100, guidance_scale: 30 }
const recipe = { sampler: 'lcm', schedule: 'lcm', steps: 4, guidance_scale: 1, order: 1 }
const offer: Offer = {
  models: [standInModel, large],
  vaes: [{ name: 'sharp', family: 'sd1' }],
  loras: [
    { name: 'detail', family: 'sd1' },
    { name: 'few', family: 'sd1', paces: { quick: recipe } },
  ],
  embeddings: [],
  upscalers: [{ name: 'x2', family: 'any', enlarges: { scale: 2, units: 1 } }],
  tiny_vaes: [{ name: 'taesd', family: 'sd1' }],
  samplers: samplerNames,
}

const upload = someTask().id
/** Of each field what is usual, what is at its limits, and what is refused alone or beside others. */
const values: Readonly<Record<string, readonly unknown[]>> = {
  prompt: ['a red apple', 'x'.repeat(2000), '<lora:detail:1.5> an apple', 'é'.repeat(2000)],
  negative_prompt: ['', 'blurry'],
  width: [64, 512, 1024],
  height: [64, 192, 1024],
  steps: [1, 4, 100],
  guidance_scale: [0, 1, 7.5, 30],
  sampler: ['Euler', 'DDIM', 'TCD', 'DPM++ 2M Karras', 'lcm'],
  schedule: ['karras', 'trailing', 'normal'],
  eta: [0, 0.3, 1],
  timesteps: [[999], [999, 749, 499, 249]],
  guidance_end: [0.05, 0.5, 1],
  pace: ['quality', 'quick', 'instant'],
  seed: [0, 2 ** 32 - 1],
  count: [1, 4],
  model: [standInModel.name, large.name],
  format: ['png', 'jpeg', 'webp'],
  quality: [1, 100],
  priority: ['interactive', 'batch'],
  previews: [0, 3, 100],
  vae: ['sharp'],
  loras: [[], [{ name: 'detail', strength: -2 }], [{ name: 'detail', strength: 1, text_strength: 2 }]],
  clip_skip: [1, 12],
  init_image: [upload],
  strength: [0, 0.01, 0.75, 1],
  mask: [upload],
  keep: ['product'],
  finish: [
    {},
    { background: upload, fill: 100, margin: [0, 5, 10, 0] },
    { background: '#abcdef', width: 4096, height: 4096, shadow: 'soft', max_bytes: 100_000 },
    { background: 'transparent', width: 100 },
    ...Object.keys(finishPresets).map((preset) => ({ preset })),
  ],
  gate: [{ tries: 1 }, { tries: 4 }],
  upscaler: ['x2'],
  hires: [
    { scale: 2 },
    { scale: 1.5, upscaler: 'x2', strength: 0.4, steps: 10 },
    { width: 1024, height: 768 },
  ],
  decoder: ['model', 'tiny'],
  precision: ['exact', 'int8'],
  webhook: ['https://example.com/hook'],
}

test('every request that is accepted makes a task that a worker takes', () => {
  assert.deepEqual(Object.keys(values).sort(), fieldEntries.map(([name]) => name).sort())
  const random = randomOf(1)
  const anyOf = (choices: readonly unknown[]) => choices[Math.floor(random() * choices.length)]
  const accepted = new Map<string, number>()
  for (let trial = 0; trial < 20_000; trial++) {
    const share = random() * 0.5
    const given = Object.entries(values).filter(([name]) => name === 'prompt' || random() < share)
    const body = Object.fromEntries(given.map(([name, choices]) => [name, anyOf(choices)]))
    let request: ReturnType<typeof resolveRequest>['request']
    try {
      request = resolveRequest(body, offer, defaultLimits, 7).request
    } catch (thrown) {
      assert.ok(thrown instanceof AppError && thrown.code === 'invalid_request', String(thrown))
      continue
    }
    const task = someTask({ request })
    assert.ok(isTask(task), `${taskFault(task)}: ${JSON.stringify(body)}`)
    for (const name of Object.keys(body)) accepted.set(name, (accepted.get(name) ?? 0) + 1)
  }
  for (const name of Object.keys(values))
    assert.ok((accepted.get(name) ?? 0) >= 20, `${name} was hardly accepted`)
})
