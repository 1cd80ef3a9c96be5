import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { tempFolder } from '../../../test/cleanup.ts'
import { CheckpointError } from '../errors.ts'
import { readFacts } from './facts.ts'
import { openModel } from './model.ts'

/** Reproducible numbers: mulberry32, a 32-bit generator. */
function generator(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}

/** Small, but reaches every detection: a UNet of one level, a LoRA, an embedding, a VAE, a Flux block. */
const shapes: readonly Readonly<Record<string, readonly number[]>>[] = [
  {
    'model.diffusion_model.input_blocks.0.0.weight': [4, 4, 1, 1],
    'model.diffusion_model.input_blocks.1.0.in_layers.2.weight': [4, 4, 1, 1],
    'model.diffusion_model.input_blocks.1.1.norm.weight': [4],
    'model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight': [4, 2],
    'model.diffusion_model.output_blocks.0.1.norm.weight': [4],
    'model.diffusion_model.out.2.weight': [4, 4, 1, 1],
    'cond_stage_model.transformer.text_model.embeddings.token_embedding.weight': [3, 2],
    'cond_stage_model.transformer.text_model.embeddings.position_embedding.weight': [7, 2],
    'cond_stage_model.transformer.text_model.encoder.layers.0.mlp.fc1.weight': [8, 2],
    'first_stage_model.decoder.conv_in.weight': [4, 4, 1, 1],
    'first_stage_model.decoder.conv_out.weight': [3, 4, 1, 1],
    'first_stage_model.decoder.up.0.block.0.conv1.weight': [4, 4, 1, 1],
  },
  {
    'model_ema.diffusion_modelinput_blocks00weight': [4, 4],
    'model.diffusion_model.label_emb.0.0.weight': [2],
  },
  { 'lora_unet_mid_attn2_to_k.lora_down.weight': [2, 8], 'lora_unet_mid_attn2_to_k.alpha': [] },
  { emb_params: [2, 8] },
  { 'decoder.conv_in.weight': [4, 4], 'encoder.conv_in.weight': [4] },
  { 'double_blocks.0.img_attn.qkv.weight': [4], 'control_model.x': [1] },
]
const metadata = {
  format: 'pt',
  'packshot.architecture': '{"heads":2,"groups":2}',
  'packshot.tokenizer': '{}',
}

function wellFormed(tensors: Readonly<Record<string, readonly number[]>>): Buffer {
  let end = 0
  const entries = Object.entries(tensors).map(([key, shape]) => {
    const begin = end
    end += shape.reduce((product, dim) => product * dim, 4)
    return [key, { dtype: 'F32', shape, data_offsets: [begin, end] }]
  })
  return withHeader(
    JSON.stringify({ __metadata__: metadata, ...Object.fromEntries(entries) }),
    Buffer.alloc(end, 1),
  )
}

function withHeader(json: string, data: Uint8Array): Buffer {
  const header = Buffer.from(json)
  const prefix = Buffer.alloc(8)
  prefix.writeBigUInt64LE(BigInt(header.length))
  return Buffer.concat([prefix, header, data])
}

const numbers = [
  '0',
  '-1',
  '1e400',
  '9007199254740993',
  '4294967296',
  '1.5',
  '2e9',
  '18446744073709551616',
  'null',
]
const fragments = [
  '{',
  '}',
  '[',
  ']',
  '"',
  ',',
  ':',
  '\\',
  '[[[[',
  '\\u0000',
  '"__proto__":',
  'NaN',
  ' ',
  '\ufffd',
]
const dtypes = ['F64', 'BF16', 'I64', 'BOOL', 'F8_E4M3', 'f32', '__proto__', '']

/** One to three changes, such as damage causes or an attacker would try. */
function mutated(file: Buffer, random: (below: number) => number): Buffer {
  let bytes: Buffer = Buffer.from(file)
  for (let change = random(3); change >= 0; change--) {
    const headerBytes = Number(bytes.readBigUInt64LE(0))
    const inside = 8 <= bytes.length - headerBytes && headerBytes > 1
    const json = inside ? bytes.toString('latin1', 8, 8 + headerBytes) : ''
    const data = bytes.subarray(inside ? 8 + headerBytes : 8)
    const at = random(Math.max(json.length, 1))
    const pick = <T>(values: readonly T[]) => values[random(values.length)] as T
    const edits: (() => Buffer)[] = [
      () => {
        const flipped = Buffer.from(bytes)
        const place = random(flipped.length)
        flipped[place] = (flipped[place] as number) ^ (1 << random(8))
        return flipped
      },
      () => Buffer.from(bytes.subarray(0, Math.max(8, random(bytes.length)))),
      () => withHeader(json.slice(0, at) + pick(fragments) + json.slice(at), data),
      () => withHeader(json.slice(0, at) + json.slice(at + 1 + random(20)), data),
      () =>
        withHeader(
          json.replace(/\d+/g, (number) => (random(12) === 0 ? pick(numbers) : number)),
          data,
        ),
      () =>
        withHeader(
          json.replace(/F32/g, (dtype) => (random(8) === 0 ? pick(dtypes) : dtype)),
          data,
        ),
      () => withHeader(json.replace('}', `},${json.slice(1, 1 + random(json.length))}`), data),
      () =>
        withHeader(
          json.replace(/"(\w+)\./g, (all) => (random(6) === 0 ? '"first_stage_model.' : all)),
          data,
        ),
      () => {
        const claimed = Buffer.from(bytes)
        claimed.writeBigUInt64LE(BigInt(random(2 ** 32)) << BigInt(random(32)))
        return claimed
      },
      () => Buffer.concat([bytes, Buffer.alloc(random(9))]),
    ]
    bytes = pick(edits)()
    if (bytes.length < 8) return bytes
  }
  return bytes
}

/** A fifth of the rounds of `npm run chaos`; each run has its own seed, and TEST_FUZZ_SEED repeats it. */
const rounds = Number(process.env.TEST_FUZZ_ROUNDS ?? 2000)
const seed = Number(process.env.TEST_FUZZ_SEED ?? randomInt(1e9))

test('mutated headers end with errors that name the file, no crash and no hang', async (t) => {
  t.diagnostic(`${rounds} rounds of seed ${seed}`)
  const random = generator(seed)
  const path = join(tempFolder(t), 'model.safetensors')
  const bases = shapes.map(wellFormed)
  let identified = 0
  for (let round = 0; round < rounds; round++) {
    // mostly the one that goes furthest
    const base = bases[random(2) === 0 ? 0 : random(bases.length)] as Buffer
    const bytes = mutated(base, random)
    writeFileSync(path, bytes)
    const fault: unknown = await readFacts(path)
      .then(() => {
        identified += 1
        return openModel(path)
      })
      .catch((thrown: unknown) => thrown)
    // none of the files is a whole model
    const told = () =>
      `seed ${seed}, round ${round}: ${fault instanceof Error ? fault.stack : fault}\n${bytes.toString('latin1')}`
    assert.ok(fault instanceof CheckpointError, told())
    assert.ok(fault.message.startsWith(path) && fault.message.length < 2000, told())
  }
  // else the mutations are too weak or too strong to test anything
  assert.ok(identified > rounds / 20 && identified < rounds / 2, `${identified} of ${rounds}`)
})
