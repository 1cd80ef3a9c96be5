import { join } from 'node:path'
import { openDiffusersFolder } from '../../../src/diffusion/checkpoint/diffusers-folder.ts'
import { Weights } from '../../../src/diffusion/checkpoint/weights.ts'
import { clipTextGraph, tokenEmbeddingKey } from '../../../src/diffusion/models/clip-text.ts'
import { encodePrompts, type WindowEncoder } from '../../../src/diffusion/prompt/encode.ts'
import {
  openTextualInversion,
  type TextualInversion,
} from '../../../src/diffusion/prompt/textual-inversion.ts'
import { layOutPrompt } from '../../../src/diffusion/prompt/windows.ts'
import { Session } from '../../../src/diffusion/runtime/session.ts'
import { readRows, type StoredTensor } from '../../../src/diffusion/safetensors/safetensors.ts'
import { ClipTokenizer } from '../../../src/diffusion/tokenizer/clip-tokenizer.ts'
import { loadGolden, relativeError } from '../golden.ts'
import type { ParityRow } from './row.ts'

const golden = join(import.meta.dirname, '..')
const limit = 1e-4

/** What make_prompt_golden.py writes about its numbers. */
export interface PromptMeta {
  readonly attention: readonly {
    readonly prompt: string
    readonly stretches: readonly (readonly [text: string, weight: number])[]
  }[]
  readonly cases: readonly PromptCase[]
}

interface PromptCase {
  readonly name: string
  readonly prompt: string
  /** As AUTOMATIC1111 counts: 1 is the last layer. */
  readonly skip: number
  readonly windows: readonly {
    readonly ids: readonly number[]
    readonly multipliers: readonly number[]
    readonly inversions: readonly (readonly [offset: number, name: string])[]
  }[]
}

/** The text encoder's states for prompts of every kind, on tiny-sd. */
export async function* rows(): AsyncIterable<ParityRow> {
  const { meta, floats } = await loadGolden<PromptMeta>('prompt-golden')
  const folder = join(golden, 'tiny-sd')
  const tokenizer = await ClipTokenizer.load(join(folder, 'tokenizer'))
  const inversions = await goldenInversions()
  const row = (name: string, actual: Float32Array, expected: Float32Array, note: string): ParityRow => {
    return {
      area: 'Prompts',
      row: name,
      measure: 'part',
      difference: relativeError(actual, expected),
      limit,
      note,
    }
  }
  for (const skip of new Set(meta.cases.map((promptCase) => promptCase.skip))) {
    const { encoder, session } = await textEncoder(folder, skip)
    for (const { name, prompt } of meta.cases.filter((promptCase) => promptCase.skip === skip)) {
      const { states } = await encodePrompts([layOutPrompt(prompt, tokenizer, inversions)], encoder)
      yield row(name, states, floats(`states.${name}`), "transformers, by AUTOMATIC1111's rules")
      if (name === 'clip skip')
        yield row(`${name} 2`, states, floats(`diffusers.${name}`), "diffusers' clip_skip 1")
      if (name === 'embedding') {
        yield row(`${name} by name`, states, floats(`diffusers.${name}`), "diffusers' load_textual_inversion")
      }
    }
    await session.release()
  }
}

/** Both forms: A1111's in half precision, diffusers' with one vector. */
export async function goldenInversions(): Promise<ReadonlyMap<string, TextualInversion>> {
  const files = ['tinystyle', 'tinystyle-worse'].map((name) => join(golden, `embeddings/${name}.safetensors`))
  const opened = await Promise.all(files.map(openTextualInversion))
  return new Map(opened.map((inversion) => [inversion.name, inversion]))
}

async function textEncoder(
  folder: string,
  skip: number,
): Promise<{ encoder: WindowEncoder; session: Session }> {
  const { text: file, architecture } = await openDiffusersFolder(folder)
  const { hidden_size: width, max_position_embeddings: tokens } = architecture.text
  const table = file.tensors.get(tokenEmbeddingKey(new Weights(file))) as StoredTensor
  const graph = clipTextGraph(architecture.text, new Weights(file), 1, { skip })
  const session = await Session.create(graph, file.folder, { provider: 'cpu', threads: 1 })
  const encoder: WindowEncoder = {
    width,
    lookUp: (ids) => readRows(file, table, ids),
    run: (data) => session.run({ embeddings: { data, dims: [1, tokens, width] } }),
  }
  return { encoder, session }
}
