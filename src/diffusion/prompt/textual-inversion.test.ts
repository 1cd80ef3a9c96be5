import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { tempFolder } from '../../../test/cleanup.ts'
import { checkWidth, openTextualInversion } from './textual-inversion.ts'

type Numbers = Float32Array | Float16Array | Uint16Array | BigInt64Array
type Tensors = Readonly<Record<string, readonly [dtype: string, shape: readonly number[], data: Numbers]>>

async function written(t: TestContext, tensors: Tensors, name = 'EasyNegative.safetensors'): Promise<string> {
  const header: Record<string, unknown> = { __metadata__: { format: 'pt' } }
  let end = 0
  for (const [key, [dtype, shape, data]] of Object.entries(tensors)) {
    header[key] = { dtype, shape, data_offsets: [end, end + data.byteLength] }
    end += data.byteLength
  }
  const text = Buffer.from(JSON.stringify(header))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(text.length))
  const bytes = Object.values(tensors).map(([, , data]) => new Uint8Array(data.buffer))
  const path = join(tempFolder(t), name)
  await writeFile(path, Buffer.concat([length, text, ...bytes]))
  return path
}

test('the form of AUTOMATIC1111: 8 vectors of 768', async (t) => {
  const data = Float32Array.from({ length: 8 * 768 }, (_, index) => Math.fround(index / 1000))
  const inversion = await openTextualInversion(await written(t, { emb_params: ['F32', [8, 768], data] }))
  assert.equal(inversion.name, 'EasyNegative')
  assert.deepEqual([inversion.count, inversion.width], [8, 768])
  assert.deepEqual(inversion.vectors, data)
})

test('the form of diffusers: one vector under its token, in half precision', async (t) => {
  const half = { '<cat-toy>': ['F16', [4], new Float16Array([0.5, -1, 2, 0])] } as const
  const inversion = await openTextualInversion(await written(t, half, 'cat-toy.safetensors'))
  assert.deepEqual([inversion.name, inversion.count, inversion.width], ['cat-toy', 1, 4])
  assert.deepEqual([...inversion.vectors], [0.5, -1, 2, 0])
  const brain = { '<cat-toy>': ['BF16', [2, 2], new Uint16Array([0x3f00, 0xbf80, 0x4000, 0])] } as const
  const { count, vectors } = await openTextualInversion(await written(t, brain))
  assert.equal(count, 2)
  assert.deepEqual([...vectors], [0.5, -1, 2, 0])
})

const ones = (count: number) => new Float32Array(count).fill(1)
const refused: readonly [what: string, tensors: Tensors, message: RegExp][] = [
  ['not a number', { emb_params: ['F32', [1, 2], new Float32Array([1, Number.NaN])] }, /infinite or NaN/],
  ['infinite', { emb_params: ['F16', [2], new Float16Array([1, Infinity])] }, /infinite or NaN/],
  ['integers', { emb_params: ['I64', [1, 2], new BigInt64Array(2)] }, /dtype I64; it must be F16/],
  ['too many vectors', { emb_params: ['F32', [76, 2], ones(152)] }, /76 vectors do not fit .* 75/],
  ['no vector', { emb_params: ['F32', [0, 768], ones(0)] }, /has shape \[0, 768\]/],
  ['three axes', { emb_params: ['F32', [1, 1, 2], ones(2)] }, /has shape \[1, 1, 2\]/],
  ['a number', { emb_params: ['F32', [], ones(1)] }, /has shape \[\]/],
  ['nothing', {}, /one tensor, but this file has 0/],
  [
    'one of SDXL',
    { clip_l: ['F32', [1, 768], ones(768)], clip_g: ['F32', [1, 1280], ones(1280)] },
    /this is an embedding for Stable Diffusion XL; use one made for Stable Diffusion 1\.x/,
  ],
  [
    'a LoRA in its place',
    {
      'lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight': ['F32', [1, 768], ones(768)],
      'lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight': ['F32', [1, 1], ones(1)],
    },
    /one tensor, but this file has 2; it is a LoRA/,
  ],
]

for (const [what, tensors, message] of refused) {
  test(`refused: ${what}`, async (t) => {
    const path = await written(t, tensors)
    await assert.rejects(openTextualInversion(path), (error: Error) => {
      assert.equal(error.name, 'CheckpointError', String(error))
      assert.ok(error.message.startsWith(`${path}: `), error.message)
      assert.match(error.message, message)
      return true
    })
  })
}

test('refused: pickles, by their name', async (t) => {
  for (const name of ['EasyNegative.pt', 'learned_embeds.bin']) {
    const path = await written(t, {}, name)
    await assert.rejects(openTextualInversion(path), { name: 'CheckpointError', message: /this is a pickle/ })
  }
})

test('refused: a width that the text encoder does not have, with both families', () => {
  const wide = (width: number) => ({ name: 'style', count: 1, width, vectors: new Float32Array(width) })
  checkWidth(wide(768), 768)
  assert.throws(() => checkWidth(wide(1024), 768), {
    name: 'CheckpointError',
    message:
      'embedding "style" is 1024 wide (Stable Diffusion 2.x), but the model\'s text encoder is 768 wide ' +
      '(Stable Diffusion 1.x); use one made for this model',
  })
  assert.throws(() => checkWidth(wide(768), 32), /768 wide \(Stable Diffusion 1\.x\), .* 32 wide; use/)
})
