import assert from 'node:assert/strict'
import { test } from 'node:test'
import { standInModel, standInOffer } from '../../../test/stand-in/engine.ts'
import { defaultLimits } from '../../jobs/fields.ts'
import type { ModelInfo } from '../../jobs/offer.ts'
import { type PageOffer, requestForm } from './form.ts'
import { readFields } from './form-values.ts'

/** What the page offers for the chosen model. */

const addOns = [
  { name: 'fits', family: 'sd1' },
  { name: 'too-wide', family: 'sd1', misfits: new Map([[standInModel.name, 'is made for another model']]) },
  { name: 'broken', family: 'sd1', problem: 'this is a web page' },
  { name: 'other-family', family: 'sdxl' },
]

function form(change: Partial<ModelInfo> = {}): string {
  const offer: PageOffer = {
    ...standInOffer,
    models: [{ ...standInModel, ...change }],
    loras: addOns,
    embeddings: addOns,
    vaes: addOns,
    limits: defaultLimits,
    uploadLimits: { bytes: 1, pixels: 1, longest: 1, kept: 1 },
  }
  return String(requestForm(offer, { values: readFields({}), errors: {}, prefilled: false }))
}

test('only what fits the chosen model can be chosen', () => {
  const page = form()
  assert.match(page, /data-chip="negative_prompt" aria-pressed="false">fits</)
  // LoRAs and VAEs
  assert.equal(page.match(/<option value="fits"/g)?.length, 2)
  for (const name of ['too-wide', 'broken', 'other-family']) assert.ok(!page.includes(name), name)
})

test('a model without a VAE offers none of its own', () => {
  assert.match(form(), />its own</)
  const bare = form({ needs_vae: true, default_vae: 'fits' })
  assert.doesNotMatch(bare, />its own</)
  assert.match(bare, /<option value="fits" selected/)
})
