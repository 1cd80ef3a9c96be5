import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { tempFolder } from '../../../test/cleanup.ts'
import {
  readContent,
  type Tensor,
  type Variant,
  writeSafetensors,
  writeVariant,
} from '../../../test/golden/parity/variants.ts'
import { CheckpointError } from '../errors.ts'
import { checkFinite } from './check-finite.ts'

const inner = 'model.diffusion_model.middle_block.0.out_layers.3.bias'

async function refused(path: string, message: RegExp): Promise<void> {
  await assert.rejects(checkFinite(path), (error: unknown) => {
    assert.ok(error instanceof CheckpointError, String(error))
    assert.match(error.message, message)
    assert.ok(error.message.startsWith(path), error.message)
    return true
  })
}

test('numbers that are none are found, whatever their type and place', async (t) => {
  const bits: Partial<Record<Variant, Buffer>> = {
    fp16: Buffer.from([0x00, 0xfc]),
    bf16: Buffer.from([0xc0, 0x7f]),
    fp32: Buffer.from([0x00, 0x00, 0x80, 0x7f]),
  }
  for (const [variant, bad] of Object.entries(bits)) {
    const path = await writeVariant(tempFolder(t), variant as Variant)
    const seen: number[] = []
    await checkFinite(path, (done, total) => seen.push(done / total))
    assert.equal(seen.at(-1), 1)
    const content = await readContent(path)
    const tensor = content.tensors.get(inner) as Tensor
    Buffer.from(tensor.bytes.buffer, tensor.bytes.byteOffset).set(bad, 3 * bad.length)
    writeSafetensors(path, content)
    await refused(path, /"model\.diffusion_model\.middle_block\.0\.out_layers\.3\.bias" .*index 3;/)
  }
  const path = join(tempFolder(t), 'f64.safetensors')
  const bytes = new Uint8Array(Float64Array.of(1, 2 ** 1000, Number.NaN).buffer)
  writeSafetensors(path, { tensors: new Map([['a', { dtype: 'F64', shape: [3], bytes }]]), metadata: {} })
  await refused(path, /"a" .* index 2;/)
})
