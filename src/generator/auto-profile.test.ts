import assert from 'node:assert/strict'
import { test } from 'node:test'
import { chooseProfile } from './auto-profile.ts'

const gigabyte = 2 ** 30
/** A full-size model on a machine with room for everything. */
const roomy = {
  provider: 'cpu',
  weightBytes: 4 * gigabyte,
  memoryBytes: 16 * gigabyte,
  diskBytes: 100 * gigabyte,
} as const

test('auto takes the profile that is ready soonest where there is room for it, and says why', () => {
  for (const [facts, profile, reason] of [
    [{}, 'packed', /room \(100\.0 GB\)/],
    [{ weightBytes: gigabyte / 40 }, 'fast', /small/],
    [{ provider: 'webgpu' }, 'fast', /on the CPU only/],
    [{ memoryBytes: 6 * gigabyte }, 'dense', /6\.0 GB of memory are too few/],
    [{ diskBytes: 5 * gigabyte }, 'fast', /The disk has no room \(5\.0 GB\)/],
    [{ diskBytes: gigabyte, memoryBytes: 6 * gigabyte }, 'fast', /The disk has no room/],
    [{ diskBytes: 5 * gigabyte, memoryBytes: 6 * gigabyte }, 'dense', /stay mapped/],
  ] as const) {
    const chosen = chooseProfile({ ...roomy, ...facts })
    assert.equal(chosen.profile, profile, JSON.stringify(facts))
    assert.match(chosen.reason, reason)
  }
})
