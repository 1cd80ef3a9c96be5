import assert from 'node:assert/strict'
import { test } from 'node:test'
import { defaultLimits } from '../../jobs/fields.ts'
import { offeredSizes, sizeName } from './sizes.ts'

const model = {
  name: 'm',
  width: 512,
  height: 512,
  steps: 20,
  guidance_scale: 7,
  size_multiple: 8,
  family: 'sd1',
  clip_layers: 12,
  image_to_image: true,
  inpainting: false,
}

test("the model's own size comes first, the others are its shapes", () => {
  const names = offeredSizes(model, defaultLimits).map(sizeName)
  assert.deepEqual(names, ['512x512', '384x512', '512x384', '512x768', '768x512'])
})

test('sizes are multiples of what the model asks for, within the limits, and each is there once', () => {
  const small = { ...model, width: 128, height: 128, size_multiple: 64 }
  assert.deepEqual(offeredSizes(small, defaultLimits).map(sizeName), ['128x128', '128x192', '192x128'])
  const large = { ...model, width: 1024, height: 1024 }
  assert.deepEqual(offeredSizes(large, defaultLimits).map(sizeName), ['1024x1024', '768x1024', '1024x768'])
})
