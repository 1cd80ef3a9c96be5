import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseSamplerName, parseScheduleName, samplerCatalog, samplers, schedules } from './catalog.ts'

test('every sampler has an entry in its place, with a default that it offers', () => {
  assert.deepEqual(
    samplerCatalog.map(({ name }) => name),
    samplers,
  )
  for (const { schedules: offered, defaultSchedule } of samplerCatalog) {
    assert.ok(offered.includes(defaultSchedule))
  }
})

test('a sampler is known by its name, its label and its class in diffusers', () => {
  for (const { name, label, diffusers, aliases } of samplerCatalog) {
    for (const text of [name, label, label.toUpperCase(), ...aliases])
      assert.deepEqual(parseSamplerName(text), { sampler: name }, text)
    // two samplers share a class with different settings; its default is the plain one
    const plain = name === 'dpmpp_2m_sde' ? 'dpmpp_2m' : name
    assert.deepEqual(parseSamplerName(diffusers), { sampler: plain }, diffusers)
  }
})

for (const [text, sampler, schedule] of [
  ['DPM++ 2M Karras', 'dpmpp_2m', 'karras'],
  ['dpm++ 2m sde karras', 'dpmpp_2m_sde', 'karras'],
  ['DPM++ 2M SDE Exponential', 'dpmpp_2m_sde', 'exponential'],
  ['DPM++ SDE Karras', 'dpmpp_sde', 'karras'],
  ['k_dpmpp_2m_ka', 'dpmpp_2m', 'karras'],
  ['k_dpmpp_2m_sde_exp', 'dpmpp_2m_sde', 'exponential'],
  ['LMS Karras', 'lms', 'karras'],
  ['Euler a SGM Uniform', 'euler_ancestral', 'sgm_uniform'],
  ['Euler Beta', 'euler', 'beta'],
  ['DDIM Trailing', 'ddim', 'sgm_uniform'],
  ['ddim_sgm_uniform', 'ddim', 'sgm_uniform'],
] as const) {
  test(`"${text}" names a sampler and a schedule`, () => {
    assert.deepEqual(parseSamplerName(text), { sampler, schedule })
  })
}

test('"Automatic" leaves the schedule to the sampler', () => {
  assert.deepEqual(parseSamplerName('DPM++ 2M Automatic'), { sampler: 'dpmpp_2m' })
  assert.equal(parseScheduleName('Automatic'), 'automatic')
})

for (const [text, schedule] of [
  ['Karras', 'karras'],
  ['SGM Uniform', 'sgm_uniform'],
  ['sgm-uniform', 'sgm_uniform'],
  ['Uniform', 'normal'],
  ['linspace', 'normal'],
  ['trailing', 'sgm_uniform'],
  ['use_karras_sigmas', 'karras'],
] as const) {
  test(`"${text}" is a schedule`, () => assert.equal(parseScheduleName(text), schedule))
}

test('what nobody calls so is unknown', () => {
  for (const text of [
    '',
    ' ',
    'DPM++ 3M SDE',
    'Karras',
    'Euler Euler',
    'Euler Turbo',
    '__proto__',
    'constructor',
    'eule',
  ]) {
    assert.equal(parseSamplerName(text), undefined, text)
  }
  for (const text of ['', 'Align Your Steps', 'KL Optimal', 'constructor', '__proto__', 'toString']) {
    assert.equal(parseScheduleName(text), undefined, text)
  }
  for (const schedule of schedules) assert.equal(parseScheduleName(schedule), schedule)
})
