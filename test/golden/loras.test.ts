import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { readFacts } from '../../src/diffusion/checkpoint/facts.ts'
import { refusal } from '../../src/diffusion/checkpoint/kinds.ts'
import { openEngine } from '../../src/diffusion/engine.ts'
import { misfit, widthsOf } from '../../src/diffusion/lora/facts.ts'
import { lastFirst } from '../cleanup.ts'
import { rows } from './parity-rows/loras.ts'

test('text encoder and UNet with LoRAs equal the same change added to the weights', async (t) => {
  let count = 0
  for await (const { row, difference, limit } of rows()) {
    count += 1
    await t.test(row, () => assert.ok(difference <= limit, `relative error ${difference}`))
  }
  assert.equal(count, 28)
})

test('a LoRA of each kind is known as usable, and makes another picture', async (t) => {
  const engine = await openEngine({
    model: join(import.meta.dirname, 'tiny-sd'),
    provider: 'cpu',
    threads: 1,
  })
  lastFirst(t).after(() => engine.close())
  const paint = async (loras: readonly { file: string; strength: number }[]) => {
    const size = { width: 64, height: 64, steps: 1, guidanceScale: 1, seed: 7 }
    const how = { sampler: 'euler', schedule: 'normal' } as const
    return (await engine.generate({ prompt: 'a red apple', negativePrompt: '', ...size, ...how, loras })).rgb
  }
  const plain = await paint([])
  const folder = join(import.meta.dirname, 'parity/loras')
  const kinds = new Set<string>()
  for (const name of await readdir(folder)) {
    const file = join(folder, name)
    const facts = await readFacts(file)
    assert.equal(refusal('lora', facts), undefined, name)
    assert.equal(misfit(facts.lora!, widthsOf(engine.model.architecture)), undefined, name)
    kinds.add(facts.lora!.noun)
    const painted = await paint([{ file, strength: 1 }])
    assert.notDeepEqual(painted, plain, name)
  }
  assert.deepEqual([...kinds].sort(), ['a DoRA', 'a LoHa', 'a LoKr', 'a LoRA'])
})
