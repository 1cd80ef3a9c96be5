import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openTinyVaeFile } from '../../../src/diffusion/checkpoint/tiny-vae-file.ts'
import { openUpscalerFile } from '../../../src/diffusion/checkpoint/upscaler-file.ts'
import { Weights } from '../../../src/diffusion/checkpoint/weights.ts'
import { tinyDecoderGraph, tinyEncoderGraph } from '../../../src/diffusion/models/taesd.ts'
import { upscalerGraph } from '../../../src/diffusion/models/upscaler.ts'
import { Session } from '../../../src/diffusion/runtime/session.ts'
import type { SafetensorsFile } from '../../../src/diffusion/safetensors/safetensors.ts'
import {
  contentOf,
  oldName,
  originalTaesd,
  type RrdbArguments,
  rrdbShapes,
  type SrvggArguments,
  srvggShapes,
  taesdShapes,
  trunkName,
} from '../enlarge-weights.ts'
import { loadGolden, relativeError } from '../golden.ts'
import { type Content, writeSafetensors } from '../parity/variants.ts'
import type { ParityRow } from './row.ts'

/** What make_enlarge_golden.py computed with. */
export interface EnlargeMeta {
  readonly networks: Readonly<
    Record<
      string,
      | { readonly kind: 'rrdb'; readonly arguments: RrdbArguments }
      | { readonly kind: 'srvgg'; readonly arguments: SrvggArguments }
    >
  >
}

/** Of the largest value: some hundred convolutions in float32. */
const limit = 1e-4

/** Names of layers that a network's file may have, and how they are told in the report. */
const layouts: Readonly<Record<string, readonly (readonly [string, (key: string) => string])[]>> = {
  x4plus: [['params_ema', (key) => `params_ema.${key}`]],
  x2plus: [['params', (key) => `params.${key}`]],
  anime_6B: [
    ['RRDB_trunk', trunkName],
    ['model.0, model.1.sub', oldName(6)],
  ],
  'general-x4v3': [['params', (key) => `params.${key}`]],
  animevideov3: [['no prefix', (key) => key]],
}

export async function* rows(): AsyncIterable<ParityRow> {
  const golden = await loadGolden<EnlargeMeta>('enlarge-golden')
  const folder = await mkdtemp(join(tmpdir(), 'packshot-enlarge-'))
  const path = join(folder, 'network.safetensors')
  const row = (name: string, made: Float32Array, expected: string): ParityRow => {
    const difference = relativeError(made, golden.floats(expected))
    return { area: 'upscalers and TAESD', row: name, measure: 'part', difference, limit }
  }
  try {
    for (const [name, network] of Object.entries(golden.meta.networks)) {
      const shapes = network.kind === 'rrdb' ? rrdbShapes(network.arguments) : srvggShapes(network.arguments)
      for (const [layout, rename] of layouts[name] ?? []) {
        writeSafetensors(path, contentOf(shapes, rename))
        const { config, file } = await openUpscalerFile(path)
        const [height, width] = sizes[name] as [number, number]
        const graph = upscalerGraph(config, new Weights(file), height, width)
        const made = await run(graph, file, 'picture', golden.floats(`${name}.input`), [1, 3, height, width])
        yield row(`${name}, ${layout}`, made, `${name}.output`)
      }
    }
    const tiny = async (content: Content) => {
      writeSafetensors(path, content)
      return (await openTinyVaeFile(path)).file
    }
    const decoded = async (file: SafetensorsFile) =>
      run(tinyDecoderGraph(4, new Weights(file), 5, 7), file, 'latent', latents, [1, 4, 5, 7])
    const latents = golden.floats('taesd.decode.latents')
    const whole = await tiny(contentOf(taesdShapes()))
    yield row('TAESD, decoding', await decoded(whole), 'taesd.decode.picture')
    const encoder = tinyEncoderGraph(4, new Weights(whole), 40, 24)
    const picture = golden.floats('taesd.encode.picture')
    const made = await run(encoder, whole, 'picture', picture, [1, 3, 40, 24])
    yield row('TAESD, encoding', made, 'taesd.encode.latents')
    const half = await tiny(contentOf(taesdShapes(), originalTaesd('decoder')))
    yield row('TAESD, decoding, its own keys', await decoded(half), 'taesd.decode.picture')
  } finally {
    await rm(folder, { recursive: true })
  }
}

/** Height and width of the inputs. */
const sizes: Readonly<Record<string, readonly [number, number]>> = {
  x4plus: [10, 12],
  x2plus: [12, 16],
  anime_6B: [9, 11],
  'general-x4v3': [9, 13],
  animevideov3: [11, 8],
}

async function run(
  graph: Uint8Array,
  file: SafetensorsFile,
  name: string,
  data: Float32Array,
  dims: readonly number[],
): Promise<Float32Array> {
  const session = await Session.create(graph, file.folder, { provider: 'cpu', threads: 1 })
  try {
    return await session.run({ [name]: { data, dims } })
  } finally {
    await session.release()
  }
}
