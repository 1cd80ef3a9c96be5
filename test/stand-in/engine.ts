import type { ModelInfo, Offer, SamplerNames } from '../../src/jobs/offer.ts'
import { promptReader } from '../../src/library/prompt-reader.ts'
import type { Engine } from '../../src/main/all-in-one.ts'

/** A model that only the tests have; see thread.ts for what its prompts do. */
export const standInModel: ModelInfo = {
  name: 'stand-in',
  family: 'sd1',
  width: 256,
  height: 256,
  steps: 4,
  guidance_scale: 7,
  size_multiple: 16,
  clip_layers: 12,
  image_to_image: true,
  inpainting: false,
}

const list = [
  {
    name: 'dpmpp_2m',
    label: 'DPM++ 2M',
    aliases: ['DPMSolverMultistepScheduler'],
    schedules: ['karras', 'normal'],
    default_schedule: 'karras',
  },
  { name: 'ddim', label: 'DDIM', aliases: [], schedules: ['normal', 'leading'], default_schedule: 'leading' },
]

/** Two samplers, each known by its name and its label; "LABEL Karras" names a schedule too. */
const standInSamplers: SamplerNames = {
  parse(text) {
    const wanted = text.toLowerCase()
    for (const { name, label } of list) {
      if (wanted === name || wanted === label.toLowerCase()) return { sampler: name }
      if (wanted === `${label.toLowerCase()} karras`) return { sampler: name, schedule: 'karras' }
    }
    return undefined
  },
  parseSchedule: (text) => ['karras', 'normal', 'leading'].find((name) => name === text.toLowerCase()),
  of: () => list,
}

export const standInOffer: Offer = {
  models: [standInModel],
  vaes: [{ name: 'sharp-vae', family: 'sd1' }],
  loras: [
    { name: 'detail', family: 'sd1', description: 'More of everything' },
    { name: 'soft light', family: 'sd1' },
    { name: 'big-detail', family: 'sdxl' },
  ],
  embeddings: [{ name: 'EasyNegative', family: 'sd1' }],
  samplers: standInSamplers,
}

export const standInEngine: Engine = {
  workerEntry: new URL('./worker-process.ts', import.meta.url),
  workerNeeds: /^(TEST_|FAKETIME|NO_FAKE_STAT)/,
  openOffer: async () => ({
    current: () => standInOffer,
    prompts: promptReader(() => []),
    close: () => {},
  }),
}
