import { join } from 'node:path'
import { openDiffusersFolder } from '../../../src/diffusion/checkpoint/diffusers-folder.ts'
import { Weights } from '../../../src/diffusion/checkpoint/weights.ts'
import { openLora } from '../../../src/diffusion/lora/lora.ts'
import { planLoras } from '../../../src/diffusion/lora/plan.ts'
import { clipTextGraph, tokenEmbeddingKey } from '../../../src/diffusion/models/clip-text.ts'
import { timestepEmbedding, unetGraph } from '../../../src/diffusion/models/unet.ts'
import { type Feed, Session } from '../../../src/diffusion/runtime/session.ts'
import { readRows, type StoredTensor } from '../../../src/diffusion/safetensors/safetensors.ts'
import { loadGolden, relativeError } from '../golden.ts'
import type { ParityRow } from './row.ts'

const golden = join(import.meta.dirname, '..')
const limit = 1e-4

/** What make_lora_golden.py writes about its numbers: strengths by LoRA and case. */
interface LoraMeta {
  readonly cases: Readonly<Record<string, Readonly<Record<string, number>>>>
}

const named: Readonly<Record<string, string>> = {
  kohya: "kohya's names, fp16, linear and convolution, alpha",
  peft: "diffusers' (PEFT) names, fp32",
  ldm: 'original names, bf16, LyCORIS convolutions with a middle part',
  together: 'three at once',
}

/** tiny-sd with LoRAs, compared with the same change added to its weights. */
export async function* rows(): AsyncIterable<ParityRow> {
  const [expected, inputs] = await Promise.all([loadGolden<LoraMeta>('lora-golden'), loadGolden('golden')])
  const model = await openDiffusersFolder(join(golden, 'tiny-sd'))
  const { text, unet } = model.architecture
  const tokens = text.max_position_embeddings

  const table = model.text.tensors.get(tokenEmbeddingKey(new Weights(model.text))) as StoredTensor
  const ids = [...inputs.integers('tokens').subarray(0, tokens)]
  const embeddings = { data: await readRows(model.text, table, ids), dims: [1, tokens, text.hidden_size] }
  const wave = timestepEmbedding(481, unet.block_out_channels[0] as number, unet)
  const call = {
    sample: { data: inputs.floats('unet.16x16.latents'), dims: [2, unet.in_channels, 16, 16] },
    time: { data: Float32Array.from([...wave, ...wave]), dims: [2, wave.length] },
    text: { data: inputs.floats('unet.text'), dims: [2, tokens, unet.cross_attention_dim] },
  }
  for (const [name, strengths] of Object.entries(expected.meta.cases)) {
    const uses = []
    for (const [file, strength] of Object.entries(strengths)) {
      const lora = await openLora(join(golden, `parity/loras/${file}.safetensors`), model)
      uses.push({ lora, strengths: { text: strength, unet: strength } })
    }
    const said = Object.values(strengths).join(', ')
    const row = (part: string, difference: number): ParityRow => {
      return {
        area: 'LoRA',
        row: `${named[name]}; strength ${said}: ${part}`,
        measure: 'part',
        difference,
        limit,
      }
    }
    const forText = await planLoras(uses, 'text', model.text)
    const textGraph = clipTextGraph(text, new Weights(model.text), 1, {
      loraRanks: forText.ranks,
      replaced: forText.replaced,
    })
    const states = await runOnce(textGraph, model.text.folder, { embeddings, ...forText.feeds })
    yield row('text encoder', relativeError(states, expected.floats(`${name}.text`)))

    const forUnet = await planLoras(uses, 'unet', model.unet)
    const shape = { batch: 2, height: 16, width: 16, tokens }
    const graph = unetGraph(unet, new Weights(model.unet), shape, {
      loraRanks: forUnet.ranks,
      replaced: forUnet.replaced,
    })
    const prediction = await runOnce(graph, model.unet.folder, { ...call, ...forUnet.feeds })
    yield row('UNet', relativeError(prediction, expected.floats(`${name}.unet`)))
  }
}

async function runOnce(graph: Uint8Array, folder: string, feeds: Readonly<Record<string, Feed>>) {
  const session = await Session.create(graph, folder, { provider: 'cpu' })
  try {
    return Float32Array.from(await session.run(feeds))
  } finally {
    await session.release()
  }
}
