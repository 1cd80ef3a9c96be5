import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Engine, openEngine } from '../../../src/diffusion/engine.ts'
import type { PictureRequest } from '../../../src/diffusion/request.ts'
import { type Golden, loadGolden, pixelDifference } from '../golden.ts'
import { singleFileOf } from '../parity/ldm-layout.ts'
import { parityDir, type Variant, writeSafetensors, writeVariant } from '../parity/variants.ts'
import type { ParityRow } from './row.ts'

/** Whole pictures: what the engine makes of the requests in parity/pictures.json, compared with diffusers' pixels. */

const limit = 2
const golden = join(parityDir, '..')
const spacings: readonly string[] = ['normal', 'leading', 'sgm_uniform']
const folders: Readonly<Record<string, string>> = {
  'tiny-sd': join(golden, 'tiny-sd'),
  'packshot-mini': join(golden, '../../models/packshot-mini'),
}

/** A request as make_parity.py writes it. */
interface GoldenPicture {
  readonly area: string
  readonly row: string
  readonly prompt: string
  readonly negative: string
  readonly seed: number
  readonly steps: number
  readonly guidance: number
  readonly width: number
  readonly height: number
  readonly sampler: PictureRequest['sampler']
  readonly schedule: PictureRequest['schedule']
  readonly clip_skip: number
  readonly model: string
  /** Further models with the same weights. */
  readonly also: readonly string[]
  readonly vae: string | null
  readonly loras: readonly { readonly file: string; readonly strength: number }[]
  readonly embeddings: Readonly<Record<string, string>>
  readonly image: string | null
  readonly strength: number
  readonly mask: string | null
  readonly eta: number | null
  readonly timesteps: readonly number[] | null
  readonly guidance_end: number | null
}

interface PicturesMeta {
  readonly versions: Readonly<Record<string, string>>
  readonly pictures: readonly GoldenPicture[]
}

export async function* rows(): AsyncGenerator<ParityRow> {
  const pictures = await loadGolden<PicturesMeta>('parity/pictures')
  const folder = await mkdtemp(join(tmpdir(), 'packshot-parity-'))
  const opened = new Map<string, Engine>()
  const engineOf = async (model: string, vae: string | null): Promise<Engine> => {
    const name = `${model} ${vae}`
    const known = opened.get(name)
    if (known) return known
    const engine = await openEngine({
      model: await modelPath(folder, model),
      vae: vae === null ? undefined : await modelPath(folder, vae),
      provider: 'cpu',
      threads: 1,
    })
    opened.set(name, engine)
    return engine
  }
  try {
    for (const [number, picture] of pictures.meta.pictures.entries()) {
      const request = requestOf(picture, pictures)
      for (const model of [picture.model, ...picture.also]) {
        const made = await (await engineOf(model, picture.vae)).generate(request)
        const row = picture.also.length === 0 ? picture.row : `${picture.row}, ${model}`
        const difference = pixelDifference(made.rgb, pictures.bytes(`${number}.pixels`))
        const note = noteOf(picture)
        yield { area: picture.area, row, measure: 'picture', difference, limit, ...(note && { note }) }
      }
    }
  } finally {
    for (const engine of opened.values()) await engine.close()
    await rm(folder, { recursive: true })
  }
}

/** Where diffusers had to be helped, see parity/schedulers.py. */
function noteOf({ sampler, schedule }: { sampler: string; schedule: string }): string | undefined {
  if (sampler === 'dpmpp_sde') return "diffusers with this engine's noise: its own comes from torchsde"
  if (sampler !== 'euler_ancestral' || spacings.includes(schedule)) return undefined
  return 'diffusers with the levels of its Euler: its Euler ancestral has spacings alone'
}

/** @param name a folder, a folder to be made a single file, or a variant of the tiny checkpoint */
async function modelPath(temporary: string, name: string): Promise<string> {
  const folder = folders[name.replace(/\.safetensors$/, '')]
  if (folder && name.endsWith('.safetensors')) {
    const file = join(temporary, name)
    writeSafetensors(file, await singleFileOf(folder))
    return file
  }
  if (folder) return folder
  return writeVariant(temporary, name as Variant)
}

function requestOf(picture: GoldenPicture, { bytes }: Golden<PicturesMeta>): PictureRequest {
  const { prompt, negative, width, height, steps, guidance, sampler, schedule, seed, clip_skip } = picture
  const { loras, embeddings, image, strength, mask, eta, timesteps, guidance_end: guidanceEnd } = picture
  const here = (file: string) => join(parityDir, file)
  return {
    prompt,
    negativePrompt: negative,
    width,
    height,
    steps,
    guidanceScale: guidance,
    sampler,
    schedule,
    seed,
    clipSkip: clip_skip,
    ...(eta !== null && { eta }),
    ...(timesteps !== null && { timesteps }),
    ...(guidanceEnd !== null && { guidanceEnd }),
    loras: loras.map((lora) => ({ file: here(lora.file), strength: lora.strength })),
    embeddings: new Map(Object.entries(embeddings).map(([name, file]) => [name, here(file)])),
    ...(image && {
      image: { rgb: bytes(image), width, height, strength, ...(mask && { mask: bytes(mask) }) },
    }),
  }
}
