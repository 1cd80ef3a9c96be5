import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type DiffusersFolder, openDiffusersFolder } from '../../src/diffusion/checkpoint/diffusers-folder.ts'
import { Weights } from '../../src/diffusion/checkpoint/weights.ts'
import { startRun } from '../../src/diffusion/image-to-image.ts'
import { timestepEmbedding, unetGraph } from '../../src/diffusion/models/unet.ts'
import { vaeDecoderGraph, vaeEncoderGraph } from '../../src/diffusion/models/vae.ts'
import { TorchGenerator } from '../../src/diffusion/random/torch-normal.ts'
import type { SourceImage } from '../../src/diffusion/request.ts'
import { Session } from '../../src/diffusion/runtime/session.ts'
import { openSafetensors, type SafetensorsFile } from '../../src/diffusion/safetensors/safetensors.ts'
import type { SamplerName, Schedule } from '../../src/diffusion/samplers/catalog.ts'
import { beginIndex, createSampler } from '../../src/diffusion/samplers/create-sampler.ts'
import { type Golden, loadGolden } from './golden.ts'

/** A run in image-golden.json; make_image_golden.py describes the tensors. */
interface ImageRun {
  readonly kind: 'img2img' | 'inpaint' | 'inpaint9'
  readonly strength: number
  readonly sampler: SamplerName
  readonly schedule: Schedule
  readonly source: 'wide' | 'square' | 'grey'
  readonly steps: number
  readonly guidance: number
  readonly seed: number
}

interface Painted {
  readonly timesteps: Float64Array
  readonly start: Float32Array
  /** Behind the sample's channels, [1, 5, H, W]; empty but for an inpainting UNet. */
  readonly extraChannels: Float32Array
  readonly latents: Float32Array
  readonly pixels: Uint8Array
}

const modelDir = join(import.meta.dirname, 'tiny-sd')

export function readRuns(): Readonly<Record<string, ImageRun>> {
  return JSON.parse(readFileSync(join(import.meta.dirname, 'image-golden.json'), 'utf8')).runs
}

/** The runs of image-golden.safetensors, done with the engine's parts. */
export class ImageRuns {
  readonly golden: Golden<{ readonly runs: Readonly<Record<string, ImageRun>> }>
  readonly model: DiffusersFolder
  readonly #wide: SafetensorsFile
  readonly #folder: string
  readonly #sessions = new Map<string, Promise<Session>>()

  private constructor(golden: ImageRuns['golden'], model: DiffusersFolder, wide: SafetensorsFile) {
    this.golden = golden
    this.model = model
    this.#wide = wide
    this.#folder = wide.folder
  }

  static async open(): Promise<ImageRuns> {
    const golden: ImageRuns['golden'] = await loadGolden('image-golden')
    const model = await openDiffusersFolder(modelDir)
    const file = join(mkdtempSync(join(tmpdir(), 'packshot-test-')), 'unet9.safetensors')
    writeFileSync(file, withConvIn(readFileSync(model.unet.path), golden.floats('conv_in')))
    return new ImageRuns(golden, model, await openSafetensors(file))
  }

  async close(): Promise<void> {
    for (const session of this.#sessions.values()) await (await session).release()
    rmSync(this.#folder, { recursive: true, force: true })
  }

  /** @param picture [1, 3, height, width] @returns moments [1, 8, height / 8, width / 8] */
  async encode(picture: Float32Array, height: number, width: number): Promise<Float32Array> {
    const { vae, architecture } = this.model
    const session = await this.#session(`encode ${height}x${width}`, vae, (weights) =>
      vaeEncoderGraph(architecture.vae, weights, height, width),
    )
    return session.run({ picture: { data: picture, dims: [1, 3, height, width] } })
  }

  /** One call of the UNet for negative prompt and prompt. @param sample [1, channels, height, width] */
  async predict(
    sample: Float32Array,
    timestep: number,
    height: number,
    width: number,
  ): Promise<Float32Array> {
    const { unet: config } = this.model.architecture
    const channels = sample.length / (height * width)
    const file = channels === 9 ? this.#wide : this.model.unet
    const session = await this.#session(`unet ${channels}x${height}x${width}`, file, (weights) =>
      unetGraph({ ...config, in_channels: channels }, weights, { batch: 2, height, width, tokens: 77 }),
    )
    const first = config.block_out_channels[0] as number
    return session.run({
      sample: { data: twice(sample), dims: [2, channels, height, width] },
      time: { data: twice(timestepEmbedding(timestep, first, config)), dims: [2, first] },
      text: { data: this.golden.floats('text'), dims: [2, 77, config.cross_attention_dim] },
    })
  }

  source(name: string): { readonly rgb: Uint8Array; readonly width: number; readonly height: number } {
    return { rgb: this.golden.bytes(`source.${name}`), width: name === 'square' ? 64 : 96, height: 64 }
  }

  async paint(name: string): Promise<Painted> {
    const run = this.golden.meta.runs[name]!
    const { noise, vae } = this.model.architecture
    const image: SourceImage | undefined =
      run.source === 'grey'
        ? undefined
        : {
            ...this.source(run.source),
            strength: run.strength,
            mask: run.kind === 'img2img' ? undefined : this.golden.bytes('mask'),
          }
    const [width, height] = [image?.width ?? 96, image?.height ?? 64]
    const [rows, columns] = [height / 8, width / 8]
    const generator = new TorchGenerator(run.seed)
    const begin = beginIndex(run.sampler, run.steps, run.strength)
    const sampler = createSampler(
      { sampler: run.sampler, schedule: run.schedule, steps: run.steps, noise, begin },
      () => generator.randn(4 * rows * columns),
    )
    const start = await startRun(image, {
      width,
      height,
      sampler,
      begin,
      generator,
      vae,
      inpainting: run.kind === 'inpaint9',
      encode: (planes) => this.encode(planes, height, width),
    })
    let latents = start.sample
    for (let index = begin; index < sampler.timesteps.length; index++) {
      const scale = sampler.scaleInput(index)
      const scaled = latents.map((value) => value * scale)
      const input = Float32Array.from([...scaled, ...start.extraChannels])
      const prediction = await this.predict(input, sampler.timesteps[index] as number, rows, columns)
      latents = start.keep(sampler.step(guide(prediction, run.guidance), index, latents), index)
    }
    return {
      timesteps: sampler.timesteps.subarray(begin),
      start: start.sample,
      extraChannels: start.extraChannels,
      latents,
      pixels: await this.#decode(latents, rows, columns),
    }
  }

  async #decode(latents: Float32Array, height: number, width: number): Promise<Uint8Array> {
    const { vae, architecture } = this.model
    const session = await this.#session(`decode ${height}x${width}`, vae, (weights) =>
      vaeDecoderGraph(architecture.vae, weights, height, width),
    )
    const data = latents.map((value) => value / architecture.vae.scaling_factor)
    const planes = await session.run({ latent: { data, dims: [1, 4, height, width] } })
    const count = planes.length / 3
    return Uint8Array.from({ length: planes.length }, (_, i) => {
      const value = planes[(i % 3) * count + Math.floor(i / 3)]! / 2 + 0.5
      return Math.round(Math.min(Math.max(value, 0), 1) * 255)
    })
  }

  #session(key: string, file: SafetensorsFile, graph: (weights: Weights) => Uint8Array): Promise<Session> {
    const known = this.#sessions.get(key)
    if (known) return known
    const session = Session.create(graph(new Weights(file)), file.folder, { provider: 'cpu', threads: 1 })
    this.#sessions.set(key, session)
    return session
  }
}

/** A UNet file with a different first convolution, [16, 9, 3, 3] in float32. */
function withConvIn(file: Buffer, weight: Float32Array): Buffer {
  const length = Number(file.readBigUInt64LE(0))
  const old: Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }> = JSON.parse(
    file.toString('utf8', 8, 8 + length),
  )
  // first, so that it begins at a multiple of its element's size
  const header: typeof old = {
    'conv_in.weight': { dtype: 'F32', shape: [16, 9, 3, 3], data_offsets: [0, weight.byteLength] },
  }
  const parts: Uint8Array[] = [new Uint8Array(weight.buffer, weight.byteOffset, weight.byteLength)]
  let end = weight.byteLength
  for (const [key, tensor] of Object.entries(old)) {
    if (key === 'conv_in.weight' || key === '__metadata__') continue
    const [from, to] = tensor.data_offsets
    parts.push(file.subarray(8 + length + from, 8 + length + to))
    header[key] = { ...tensor, data_offsets: [end, end + to - from] }
    end += to - from
  }
  const text = JSON.stringify(header)
  const padded = Buffer.from(text.padEnd(Math.ceil(text.length / 8) * 8))
  const prefix = Buffer.alloc(8)
  prefix.writeBigUInt64LE(BigInt(padded.length))
  return Buffer.concat([prefix, padded, ...parts])
}

function guide(prediction: Float32Array, scale: number): Float32Array {
  const half = prediction.length / 2
  return prediction.slice(0, half).map((value, i) => value + scale * (prediction[half + i]! - value))
}

function twice(values: Float32Array): Float32Array {
  const out = new Float32Array(values.length * 2)
  out.set(values)
  out.set(values, values.length)
  return out
}
