import assert from 'node:assert/strict'
import { cp, readdir, readFile, stat, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { tempFolder } from '../../../test/cleanup.ts'
import { openSafetensors, type SafetensorsFile, toFloat32 } from './safetensors.ts'
import { widened } from './widen.ts'

const tiny = join(import.meta.dirname, '../../../test/golden/tiny-sd')

async function values(part: SafetensorsFile, key: string): Promise<Float32Array> {
  const { dtype, offset, length } = part.tensors.get(key)!
  return toFloat32((await readFile(part.path)).subarray(offset, offset + length), dtype)
}

test('half-precision weights are written out once, with the same numbers', async (t) => {
  const [folder, cache] = [tempFolder(t), join(tempFolder(t), 'cache')]
  const file = join(folder, 'unet.safetensors')
  await cp(join(tiny, 'unet/diffusion_pytorch_model.safetensors'), file)
  const part = await openSafetensors(file)
  const wide = await widened(part, cache)
  assert.equal(wide.tensors.size, part.tensors.size)
  for (const key of ['conv_in.weight', 'mid_block.attentions.0.proj_in.weight', 'conv_out.bias']) {
    assert.deepEqual(await values(wide, key), await values(part, key), key)
    assert.deepEqual(wide.tensors.get(key)?.shape, part.tensors.get(key)?.shape)
    assert.equal(wide.tensors.get(key)?.dtype, 'F32')
  }
  const { ino } = await stat(wide.path)
  const again = await widened(await openSafetensors(file), cache)
  assert.deepEqual(
    [(await stat(again.path)).ino, await readdir(cache)],
    [ino, [again.name]],
    'nothing is written twice',
  )

  await utimes(file, 1, 1)
  const other = await widened(await openSafetensors(file), cache)
  assert.notEqual(other.path, wide.path, 'a file that changed is another one')
})

test('float32 weights stay where they are', async (t) => {
  const part = await openSafetensors(join(tiny, 'vae/diffusion_pytorch_model.safetensors'))
  assert.equal(await widened(part, join(tempFolder(t), 'never')), part)
})
