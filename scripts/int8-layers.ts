import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { openModel } from '../src/diffusion/checkpoint/model.ts'
import { Weights } from '../src/diffusion/checkpoint/weights.ts'
import type { GraphOptions, WeightSource } from '../src/diffusion/graph/graph.ts'
import { inEightBits } from '../src/diffusion/int8/prepare.ts'
import { staysFloat } from '../src/diffusion/int8/sensitive.ts'
import { timestepEmbedding, unetGraph } from '../src/diffusion/models/unet.ts'
import { vaeDecoderGraph } from '../src/diffusion/models/vae.ts'
import { TorchGenerator } from '../src/diffusion/random/torch-normal.ts'
import { type Feed, Session } from '../src/diffusion/runtime/session.ts'
import type { SafetensorsFile } from '../src/diffusion/safetensors/safetensors.ts'

/**
 * The error of each layer of a model in eight bits, relative to the size of its exact result, from exact inputs: one call of
 * the UNet on noise with a text of noise, and the decoding of noise. Layers that stay float32 are measured as well.
 *
 *   node scripts/int8-layers.ts <folder or file> [--side 64] [--part unet | vae] [--all]
 */

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    side: { type: 'string', default: '64' },
    part: { type: 'string' },
    all: { type: 'boolean', default: false },
  },
})
const side = Number(values.side)
const { architecture, unet, vae } = await openModel(positionals[0] as string)
const generator = new TorchGenerator(1)
const noise = (dims: number[]): Feed => {
  return { dims, data: generator.randn(dims.reduce((product, dim) => product * dim, 1)) }
}

if (values.part !== 'vae') {
  const { in_channels, cross_attention_dim, block_out_channels } = architecture.unet
  const tokens = architecture.text.max_position_embeddings
  const first = block_out_channels[0] as number
  const shape = { batch: 2, height: side, width: side, tokens }
  const wave = timestepEmbedding(481, first, architecture.unet)
  await measure(unet, (weights, options) => unetGraph(architecture.unet, weights, shape, options), {
    sample: noise([2, in_channels, side, side]),
    time: { data: Float32Array.from([...wave, ...wave]), dims: [2, first] },
    text: noise([2, tokens, cross_attention_dim]),
  })
}
if (values.part !== 'unet') {
  await measure(vae, (weights, options) => vaeDecoderGraph(architecture.vae, weights, side, side, options), {
    latent: noise([1, architecture.vae.latent_channels, side, side]),
  })
}

async function measure(
  part: SafetensorsFile,
  write: (weights: WeightSource, options: GraphOptions) => Uint8Array,
  feeds: Record<string, Feed>,
): Promise<void> {
  const file = await inEightBits(part, join(tmpdir(), 'packshot-int8-layers'), {
    toCompare: true,
    onWarning: console.log,
  })
  let layers: readonly string[] = []
  const onCompared = (each: readonly string[]) => {
    layers = each
  }
  const graph = write(new Weights(file), { onCompared })
  const session = await Session.create(graph, file.folder, { provider: 'cpu', profile: 'dense' })
  const errors = await session.run(feeds)
  await session.release()
  const found = layers.map((layer, i) => ({ layer, error: errors[i]! }))
  if (values.all) for (const { layer, error } of found) console.log(`${(100 * error).toFixed(2)} % ${layer}`)
  const kinds = Map.groupBy(found, ({ layer }) => {
    const kind = layer
      .replace(/^.*?(resnets|attentions|downsamplers|upsamplers)\.\d+\./, '$1: ')
      .replace(/transformer_blocks\.\d+\./, '')
    return `${kind}${staysFloat(`${layer}.weight`) ? ' (float32)' : ''}`
  })
  console.log('| layers | number | median | largest |\n|---|---|---|---|')
  for (const [kind, each] of kinds) {
    const sorted = each.map(({ error }) => error).sort((a, b) => a - b)
    const percent = (error: number) => `${(100 * error).toFixed(2)} %`
    const [middle, most] = [sorted[Math.floor(sorted.length / 2)]!, sorted.at(-1)!]
    console.log(`| ${kind} | ${each.length} | ${percent(middle)} | ${percent(most)} |`)
  }
}
