import { join } from 'node:path'
import {
  type DiffusersFolder,
  openDiffusersFolder,
} from '../../../src/diffusion/checkpoint/diffusers-folder.ts'
import { Weights } from '../../../src/diffusion/checkpoint/weights.ts'
import { openLora } from '../../../src/diffusion/lora/lora.ts'
import { type AppliedLora, planLoras } from '../../../src/diffusion/lora/plan.ts'
import { clipTextGraph, tokenEmbeddingKey } from '../../../src/diffusion/models/clip-text.ts'
import { timestepEmbedding, unetGraph } from '../../../src/diffusion/models/unet.ts'
import { type Feed, Session } from '../../../src/diffusion/runtime/session.ts'
import { readRows, type StoredTensor } from '../../../src/diffusion/safetensors/safetensors.ts'
import { type Golden, loadGolden, relativeError } from '../golden.ts'
import type { ParityRow } from './row.ts'

const golden = join(import.meta.dirname, '..')
const limit = 1e-4

/** What make_lora_golden.py and make_lora_kinds_golden.py write about their numbers. */
interface LoraMeta {
  /** Strengths by LoRA, or that of the one LoRA that has the case's name. */
  readonly cases: Readonly<Record<string, Readonly<Record<string, number>> | number>>
}

const named: Readonly<Record<string, string>> = {
  kohya: "kohya's names, fp16, linear and convolution, alpha",
  peft: "diffusers' (PEFT) names, fp32",
  ldm: 'original names, bf16, LyCORIS convolutions with a middle part',
  together: 'three at once',
  loha: 'LoHa, linear and convolution, "Tucker" too',
  lokr: 'LoKr in all its factorisations',
  full: 'differences of whole weights, biases and norms',
  dora: 'DoRA of LyCORIS, by inputs and by outputs, of LoHa too',
  'peft-dora': 'DoRA of PEFT',
  'peft-bias': 'biases of PEFT',
}

const paper = 'the formula of its paper: diffusers does not load it'
const notes: Readonly<Record<string, string>> = {
  loha: paper,
  lokr: paper,
  full: 'added to the weights: diffusers does not load it',
  dora: `${paper}; strength as in AUTOMATIC1111`,
  'peft-dora': "diffusers' load_lora_weights",
  'peft-bias': "diffusers' load_lora_weights",
}

/** tiny-sd with LoRAs, compared with the same change added to its weights, or with what diffusers loads. */
export async function* rows(): AsyncIterable<ParityRow> {
  const inputs = await loadGolden('golden')
  const model = await openDiffusersFolder(join(golden, 'tiny-sd'))
  for (const source of ['lora-golden', 'lora-kinds-golden']) {
    const expected = await loadGolden<LoraMeta>(source)
    for (const [name, given] of Object.entries(expected.meta.cases)) {
      const uses = []
      const files = typeof given === 'number' ? { [name]: given } : given
      for (const [file, strength] of Object.entries(files)) {
        const lora = await openLora(join(golden, `parity/loras/${file}.safetensors`), model)
        uses.push({ lora, strengths: { text: strength, unet: strength } })
      }
      const row = (part: string, actual: Float32Array, wanted: Float32Array): ParityRow => {
        return {
          area: 'LoRA',
          row: `${named[name]}; strength ${Object.values(files).join(', ')}: ${part}`,
          measure: 'part',
          // some keep the beginning only
          difference: relativeError(actual.subarray(0, wanted.length), wanted),
          limit,
          ...(notes[name] && { note: notes[name] }),
        }
      }
      yield row('text encoder', await encoded(model, inputs, uses), expected.floats(`${name}.text`))
      yield row('UNet', await predicted(model, inputs, uses), expected.floats(`${name}.unet`))
    }
  }
}

async function encoded(
  { architecture: { text: config }, text: part }: DiffusersFolder,
  inputs: Golden<unknown>,
  uses: readonly AppliedLora[],
): Promise<Float32Array> {
  const tokens = config.max_position_embeddings
  const table = part.tensors.get(tokenEmbeddingKey(new Weights(part))) as StoredTensor
  const ids = [...inputs.integers('tokens').subarray(0, tokens)]
  const embeddings = { data: await readRows(part, table, ids), dims: [1, tokens, config.hidden_size] }
  const { ranks: loraRanks, replaced, feeds } = await planLoras(uses, 'text', part)
  const graph = clipTextGraph(config, new Weights(part), 1, { loraRanks, replaced })
  return runOnce(graph, part.folder, { embeddings, ...feeds })
}

async function predicted(
  { architecture: { text, unet: config }, unet: part }: DiffusersFolder,
  inputs: Golden<unknown>,
  uses: readonly AppliedLora[],
): Promise<Float32Array> {
  const tokens = text.max_position_embeddings
  const wave = timestepEmbedding(481, config.block_out_channels[0] as number, config)
  const call = {
    sample: { data: inputs.floats('unet.16x16.latents'), dims: [2, config.in_channels, 16, 16] },
    time: { data: Float32Array.from([...wave, ...wave]), dims: [2, wave.length] },
    text: { data: inputs.floats('unet.text'), dims: [2, tokens, config.cross_attention_dim] },
  }
  const shape = { batch: 2, height: 16, width: 16, tokens }
  const { ranks: loraRanks, replaced, feeds } = await planLoras(uses, 'unet', part)
  const graph = unetGraph(config, new Weights(part), shape, { loraRanks, replaced })
  return runOnce(graph, part.folder, { ...call, ...feeds })
}

async function runOnce(graph: Uint8Array, folder: string, feeds: Readonly<Record<string, Feed>>) {
  const session = await Session.create(graph, folder, { provider: 'cpu' })
  try {
    return Float32Array.from(await session.run(feeds))
  } finally {
    await session.release()
  }
}
