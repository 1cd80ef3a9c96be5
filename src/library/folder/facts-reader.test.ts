import assert from 'node:assert/strict'
import { linkSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { lastFirst, tempFolder } from '../../../test/cleanup.ts'
import { tensorOf, tinyCheckpoint, writeSafetensors } from '../../../test/golden/parity/variants.ts'
import { waitFor } from '../../../test/kit/waiting.ts'
import { keepingLog } from '../../../test/quiet-log.ts'
import { loadConfig } from '../../config.ts'
import { readFacts } from '../../diffusion/checkpoint/facts.ts'
import { CheckpointError } from '../../diffusion/errors.ts'
import { openOffer } from '../offer-source.ts'
import { threadedFacts } from './facts-reader.ts'

const matrix = (...shape: number[]) =>
  tensorOf(new Float32Array(shape.reduce((a, b) => a * b, 1)), shape, 'F16')
const builtIn = join(import.meta.dirname, '../../../models/packshot-mini')
const layer = 'lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k'

function lora(path: string, metadata: Record<string, string> = {}): string {
  const tensors = new Map([
    [`${layer}.lora_down.weight`, matrix(4, 768)],
    [`${layer}.lora_up.weight`, matrix(320, 4)],
  ])
  writeSafetensors(path, { tensors, metadata })
  return path
}

test('a thread tells of files what would be told here, errors included', async (t) => {
  const dir = tempFolder(t)
  const damaged = join(dir, 'damaged.safetensors')
  writeFileSync(damaged, Buffer.alloc(100, 255))
  const reader = threadedFacts()
  lastFirst(t).after(reader.close)
  const outcome = async (read: Promise<unknown>) =>
    read.catch((thrown: CheckpointError) => {
      assert.ok(thrown instanceof CheckpointError)
      return { message: thrown.message, reason: thrown.reason, subject: thrown.subject }
    })
  const paths = [builtIn, tinyCheckpoint, lora(join(dir, 'lora.safetensors')), damaged, join(dir, 'none')]
  // all at once: they are read in turn
  const told = await Promise.all(paths.map((path) => outcome(reader.read(path))))
  for (const [index, path] of paths.entries()) {
    const here = await outcome(readFacts(path))
    assert.deepEqual(told[index], here, path)
  }
  const { model } = await reader.read(join(dir, 'lora.safetensors'))
  assert.ok(model instanceof CheckpointError && model.reason !== '')
})

test('a file that ends the thread is refused, and those after it are read', async (t) => {
  const dir = tempFolder(t)
  const entry = join(dir, 'thread.mjs')
  writeFileSync(
    entry,
    `import { parentPort } from 'node:worker_threads'
     parentPort.on('message', (path) => {
       if (path.includes('hungry')) for (const kept = []; ; ) kept.push(new Array(1e6).fill(path))
       if (path.includes('wild')) throw new Error(path)
       parentPort.postMessage({ value: { model: { value: path }, addOn: { value: undefined } } })
     })`,
  )
  const reader = threadedFacts(pathToFileURL(entry), { heapMb: 32 })
  lastFirst(t).after(reader.close)
  const read = ['good', 'hungry', 'wild', 'better'].map((path) => reader.read(path))
  const told = await Promise.allSettled(read)
  assert.deepEqual(
    told.map((each) => (each.status === 'fulfilled' ? each.value.model : String(each.reason.message))),
    [
      'good',
      'hungry: reading the file takes too much memory',
      'wild: reading the file takes too much memory',
      'better',
    ],
  )
})

test('a server reads no header that comes while it runs on the thread that answers polls', async (t) => {
  const dir = tempFolder(t)
  mkdirSync(join(dir, 'loras'))
  const config = loadConfig({ PACKSHOT_MODELS_DIR: dir })
  const offer = await openOffer(config, keepingLog(), 50)
  lastFirst(t).after(offer.close)
  const { parse } = JSON
  let parsed = 0
  t.mock.method(JSON, 'parse', (text: string, ...more: []) => {
    parsed = Math.max(parsed, text.length)
    return parse(text, ...more)
  })
  const first = lora(join(dir, 'first.tmp'), { notes: 'x'.repeat(2e6) })
  for (let n = 0; n < 100; n += 1) linkSync(first, join(dir, `loras/n${n}.safetensors`))
  await waitFor(() => offer.current().loras.length === 100)
  assert.ok(offer.current().loras.every(({ problem }) => problem === undefined))
  assert.ok(parsed < 1e6, `a text of ${parsed} characters was parsed here`)
})
