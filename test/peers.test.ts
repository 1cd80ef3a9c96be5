import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fromSdCpp, peersTable } from '../bench/peers-table.ts'

const kind = { date: '2026-11-28', processor: 'A processor', threads: 2, size: 512, rounds: 3 }

test('bench:peers shows medians, a dash for what is not reported, and says what is missing', () => {
  const run = { name: 'one', largePages: true, decode: 9.25, peak: 2 ** 32 }
  const runs = [
    { ...run, step: 5 },
    { name: 'two', largePages: false, step: 80.124, cpuPerWall: 1.987 },
    { ...run, step: 7 },
    { ...run, step: 6 },
  ]
  const lines = peersTable({ ...kind, runs, leftOut: ['torch: no --python was given'] }).split('\n')
  assert.match(
    lines[0] as string,
    /^2026-11-28: A processor, 2 threads, 512x512, .* median of 3 rounds in turn\.$/,
  )
  assert.deepEqual(lines.slice(4), [
    '| one | large | - | - | 6.00 s | 9.3 s | - | - | 4.0 GB | - |',
    '| two | 4 KB | - | - | 80.12 s | - | - | - | - | 1.99 |',
    '',
    'Left out:',
    '',
    '- torch: no --python was given',
    '',
  ])
})

test('with everything missing bench:peers says so instead of a table', () => {
  const text = peersTable({ ...kind, rounds: 1, runs: [], leftOut: ['a: not here', 'b: not here'] })
  assert.match(
    text,
    /median of 1 round in turn\.\n\nNothing was measured\.\n\nLeft out:\n\n- a: not here\n- b: not here\n$/,
  )
})

test("what stable-diffusion.cpp's log says: loading in parts, steps together", () => {
  const log = `[INFO ] model.cpp:999  - loading tensors completed, taking 1.39s (process: 0.23s, read: 0.49s)
  |==================================================| 4/4 - 49.63s/it
[INFO ] loading tensors completed, taking 0.61s
[INFO ] stable-diffusion.cpp:5317 - sampling completed, taking 200.00s
[INFO ] stable-diffusion.cpp:5335 - latent 1 decoded, taking 98.39s`
  assert.deepEqual(fromSdCpp(log, 4), { load: 2, step: 50, decode: 98.39 })
  assert.equal(fromSdCpp('error', 4).step, undefined)
})
