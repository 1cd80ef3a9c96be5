import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openEngine } from '../../../src/diffusion/engine.ts'
import { parseSamplerName } from '../../../src/diffusion/samplers/catalog.ts'
import { loadGolden, pixelDifference } from '../golden.ts'
import { readContent, tensorOf, tinyCheckpoint, writeSafetensors } from '../parity/variants.ts'
import type { ParityRow } from './row.ts'

/** What make_zero_snr_golden.py asked for. */
interface ZeroSnrMeta {
  readonly request: {
    readonly prompt: string
    readonly negative: string
    readonly width: number
    readonly height: number
    readonly steps: number
    readonly guidance: number
    readonly seed: number
  }
  readonly pictures: readonly string[]
}

const limit = 2

/** The tiny checkpoint as a file with the keys that A1111 and ComfyUI read. */
export async function* rows(): AsyncIterable<ParityRow> {
  const { meta, bytes } = await loadGolden<ZeroSnrMeta>('zero-snr-golden')
  const folder = await mkdtemp(join(tmpdir(), 'packshot-zero-snr-'))
  try {
    const engine = await openEngine({ model: await markedFile(folder), provider: 'cpu', threads: 1 })
    try {
      for (const name of meta.pictures) {
        const { negative: negativePrompt, guidance: guidanceScale, ...request } = meta.request
        const { sampler, schedule } = samplerOf(name)
        const made = await engine.generate({ ...request, negativePrompt, guidanceScale, sampler, schedule })
        const difference = pixelDifference(made.rgb, bytes(name))
        yield {
          area: 'zero terminal SNR',
          row: `v_pred and ztsnr, ${name}`,
          measure: 'picture',
          difference,
          limit,
        }
      }
    } finally {
      await engine.close()
    }
  } finally {
    await rm(folder, { recursive: true })
  }
}

async function markedFile(folder: string): Promise<string> {
  const { tensors, metadata } = await readContent(tinyCheckpoint)
  const { prediction_type: _, ...architecture } = JSON.parse(metadata['packshot.architecture'] as string)
  const marks = ['v_pred', 'ztsnr'].map((key) => [key, tensorOf(new Float32Array(1), [], 'F32')] as const)
  const path = join(folder, 'marked.safetensors')
  writeSafetensors(path, {
    tensors: new Map([...tensors, ...marks]),
    metadata: { ...metadata, 'packshot.architecture': JSON.stringify(architecture) },
  })
  return path
}

function samplerOf(name: string) {
  const parsed = parseSamplerName(name)
  if (parsed?.schedule === undefined) throw new Error(`there is no sampler ${name}`)
  return { sampler: parsed.sampler, schedule: parsed.schedule }
}
