import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
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
import { readRows, type StoredTensor, toFloat32 } from '../../../src/diffusion/safetensors/safetensors.ts'
import { type Golden, loadGolden, relativeError } from '../golden.ts'
import { type Content, readContent, type Tensor, writeSafetensors } from '../parity/variants.ts'
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
  'peft-patterns': 'alpha_pattern of PEFT, with regular expressions',
}

/** The same LoRAs as other programs write them: what is expected is the same. */
const dialects: readonly {
  readonly from: string
  readonly row: string
  readonly change: (content: Content) => Content
}[] = [
  {
    from: 'kohya',
    row: "alphas in 64-bit integers, as diffusers' convert_state_dict_to_kohya writes them",
    change: ({ tensors, metadata }) => ({
      metadata,
      tensors: new Map(
        [...tensors].map(([key, tensor]) => [key, key.endsWith('.alpha') ? inIntegers(tensor) : tensor]),
      ),
    }),
  },
  {
    from: 'ldm',
    row: "ComfyUI's names",
    change: ({ tensors, metadata }) => ({
      metadata,
      tensors: new Map([...tensors].map(([key, tensor]) => [comfyName(key), tensor])),
    }),
  },
  {
    from: 'peft',
    row: "PEFT's own names",
    change: ({ tensors, metadata }) => ({
      metadata,
      tensors: new Map(
        [...tensors].map(([key, tensor]) => [
          key.replace(/^(unet|text_encoder)\./, 'base_model.model.'),
          tensor,
        ]),
      ),
    }),
  },
]

function inIntegers(tensor: Tensor): Tensor {
  const [alpha] = toFloat32(tensor.bytes, tensor.dtype)
  return { dtype: 'I64', shape: [], bytes: new Uint8Array(BigInt64Array.of(BigInt(alpha as number)).buffer) }
}

/** `lora_unet_input_blocks_1_1_proj_in` is `diffusion_model.input_blocks_1_1_proj_in` here: dots count as underscores. */
function comfyName(key: string): string {
  return key
    .replace(/^lora_unet_/, 'diffusion_model.')
    .replace(/^lora_te1_text_model_/, 'text_encoders.clip_l.transformer.text_model.')
}

const paper = 'the formula of its paper: diffusers does not load it'
const notes: Readonly<Record<string, string>> = {
  loha: paper,
  lokr: paper,
  full: 'added to the weights: diffusers does not load it',
  dora: `${paper}; strength as in AUTOMATIC1111`,
  'peft-dora': "diffusers' load_lora_weights",
  'peft-bias': "diffusers' load_lora_weights",
  'peft-patterns': "diffusers' load_lora_weights",
}

/** tiny-sd with LoRAs, compared with the same change added to its weights, or with what diffusers loads. */
export async function* rows(): AsyncIterable<ParityRow> {
  const inputs = await loadGolden('golden')
  const model = await openDiffusersFolder(join(golden, 'tiny-sd'))
  const path = (file: string) => join(golden, `parity/loras/${file}.safetensors`)
  const compare = async function* (
    row: string,
    files: Readonly<Record<string, number>>,
    { floats }: Pick<Golden<unknown>, 'floats'>,
    note?: string,
  ): AsyncIterable<ParityRow> {
    const uses = []
    for (const [file, strength] of Object.entries(files)) {
      uses.push({ lora: await openLora(file, model), strengths: { text: strength, unet: strength } })
    }
    for (const [part, actual, wanted] of [
      ['text encoder', await encoded(model, inputs, uses), floats('text')],
      ['UNet', await predicted(model, inputs, uses), floats('unet')],
    ] as const) {
      yield {
        area: 'LoRA',
        row: `${row}; strength ${Object.values(files).join(', ')}: ${part}`,
        measure: 'part',
        // some keep the beginning only
        difference: relativeError(actual.subarray(0, wanted.length), wanted),
        limit,
        ...(note && { note }),
      }
    }
  }
  for (const source of ['lora-golden', 'lora-kinds-golden']) {
    const { meta, floats } = await loadGolden<LoraMeta>(source)
    for (const [name, given] of Object.entries(meta.cases)) {
      const files = Object.entries(typeof given === 'number' ? { [name]: given } : given)
      const used = Object.fromEntries(files.map(([file, strength]) => [path(file), strength]))
      yield* compare(
        named[name] as string,
        used,
        { floats: (part) => floats(`${name}.${part}`) },
        notes[name],
      )
    }
  }
  const { meta, floats } = await loadGolden<LoraMeta>('lora-golden')
  const folder = await mkdtemp(join(tmpdir(), 'packshot-loras-'))
  try {
    for (const { from, row, change } of dialects) {
      const file = join(folder, `${from}.safetensors`)
      writeSafetensors(file, change(await readContent(path(from))))
      const { [from]: strength = 1 } = meta.cases[from] as Record<string, number>
      yield* compare(row, { [file]: strength }, { floats: (part) => floats(`${from}.${part}`) })
    }
  } finally {
    await rm(folder, { recursive: true })
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
  const session = await Session.create(graph, folder, { provider: 'cpu', threads: 1 })
  try {
    return Float32Array.from(await session.run(feeds))
  } finally {
    await session.release()
  }
}
