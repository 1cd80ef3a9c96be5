import assert from 'node:assert/strict'
import { cpSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { ResolvedRequest } from '../../src/jobs/job.ts'
import { tempFolder } from '../cleanup.ts'
import { tinyCheckpoint } from '../golden/parity/variants.ts'
import { startGenerator } from './generator.ts'

/** The memory of a worker, with the real engine in a process of its own. */

const golden = join(import.meta.dirname, '../golden')
/** Two of matrices beside layers, one of weights that are fed. */
const loras = ['picture-a', 'picture-b', 'loha']
const budgetMiB = 96
/** What docs/operating.md (Memory) promises beside the budget. */
const remainderMiB = budgetMiB / 4 + 640

test('300 different requests stay within the memory that a worker may use', async (t) => {
  const { make } = startGenerator(t, {
    PACKSHOT_MODELS_DIR: modelsFolder(t),
    PACKSHOT_MODEL: 'one',
    PACKSHOT_MODEL_MEMORY_MB: String(budgetMiB),
  })
  const seen = new Set<string>()
  let most = 0
  for (let i = 0; i < 300; i++) {
    const request = requestOf(i)
    seen.add(JSON.stringify(request))
    await make(request)
    most = Math.max(most, residentMiB())
  }
  t.diagnostic(`at most ${Math.round(most)} MiB, where ${budgetMiB + remainderMiB} are promised`)
  assert.equal(seen.size, 300)
  assert.ok(most <= budgetMiB + remainderMiB, `${Math.round(most)} MiB`)
})

/**
 * Three requests for each of 100 shapes: size, windows of the prompt, guidance, LoRAs and model decide which sessions
 * are made; CLIP skip and steps make other requests of the same shape, which make a text encoder at most.
 */
function requestOf(i: number): Partial<ResolvedRequest> {
  const shape = Math.floor(i / 3)
  return {
    model: shape % 20 === 7 ? 'packshot-mini' : shape % 2 === 0 ? 'one' : 'two',
    width: 64 + 16 * (shape % 8),
    height: 64 + 16 * ((shape * 7) % 9),
    prompt: Array.from({ length: 1 + (shape % 5) }, () => 'a red apple').join(' BREAK '),
    guidance_scale: shape % 3 === 0 ? 1 : 5,
    clip_skip: 1 + (i % 3 === 1 ? 1 : 0),
    steps: 1 + (i % 3 === 2 ? 1 : 0),
    ...(shape % 8 < loras.length && { loras: [{ name: loras[shape % 8] as string, strength: 0.5 }] }),
  }
}

function modelsFolder(t: TestContext): string {
  const dir = tempFolder(t)
  mkdirSync(join(dir, 'loras'))
  cpSync(tinyCheckpoint, join(dir, 'one.safetensors'))
  cpSync(join(golden, 'tiny-sd'), join(dir, 'two'), { recursive: true })
  for (const name of loras) {
    cpSync(join(golden, `parity/loras/${name}.safetensors`), join(dir, `loras/${name}.safetensors`))
  }
  return dir
}

function residentMiB(): number {
  return process.memoryUsage().rss / 2 ** 20
}
