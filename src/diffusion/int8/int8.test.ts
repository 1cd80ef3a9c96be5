import assert from 'node:assert/strict'
import { cp, readdir, readFile, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { lastFirst, tempFolder } from '../../../test/cleanup.ts'
import { floatsOf, readContent, tensorOf, writeSafetensors } from '../../../test/golden/parity/variants.ts'
import { type Engine, openEngine } from '../engine.ts'
import { CheckpointError } from '../errors.ts'
import type { PictureRequest } from '../request.ts'
import type { Profile } from '../runtime/session.ts'
import { openSafetensors } from '../safetensors/safetensors.ts'
import { doubledTaps, doubledWeights } from './doubled.ts'
import { inEightBits } from './prepare.ts'
import { quantizeColumns } from './quantize.ts'

const golden = join(import.meta.dirname, '../../../test/golden')
const tiny = join(golden, 'tiny-sd')
const unetFile = 'unet/diffusion_pytorch_model.safetensors'
const lora = (name: string) => join(golden, 'parity/loras', `${name}.safetensors`)

const exact: PictureRequest = {
  prompt: 'a red apple',
  negativePrompt: '',
  width: 64,
  height: 64,
  steps: 4,
  guidanceScale: 5,
  sampler: 'dpmpp_2m',
  schedule: 'karras',
  seed: 7,
}
const request: PictureRequest = { ...exact, precision: 'int8' }

async function open(t: TestContext, cacheFolder: string, profile?: Profile): Promise<Engine> {
  const engine = await openEngine({ model: tiny, provider: 'cpu', threads: 1, cacheFolder, profile })
  lastFirst(t).after(() => engine.close())
  return engine
}

/** In decibels. The model has random weights, which amplify each difference: pictures of other seeds are at 7 to 9, of another prompt at 16. */
const least = 20

/** In decibels: 40 is a difference of 2.5 of 255 at each place. */
function psnr(a: Uint8Array, b: Uint8Array): number {
  const squares = a.reduce((sum, value, i) => sum + (value - b[i]!) ** 2, 0)
  return 10 * Math.log10((255 ** 2 * a.length) / squares)
}

/** A copy of the UNet's file with one weight changed. */
async function withWeight(t: TestContext, key: string, change: (weights: Float32Array) => void) {
  const path = join(tempFolder(t), 'unet.safetensors')
  const content = await readContent(join(tiny, unetFile))
  const tensor = content.tensors.get(key)!
  const weights = floatsOf(tensor)
  change(weights)
  writeSafetensors(path, {
    ...content,
    tensors: new Map(content.tensors).set(key, tensorOf(weights, tensor.shape, 'F32')),
  })
  return openSafetensors(path)
}

test('the same request gives the same picture in eight bits, close to the exact one, which stays as it is', async (t) => {
  const cache = tempFolder(t)
  const engine = await open(t, cache)
  const before = await engine.generate(exact)
  const first = await engine.generate(request)
  assert.notDeepEqual(first.rgb, before.rgb)
  assert.ok(psnr(first.rgb, before.rgb) > least, `${psnr(first.rgb, before.rgb)} dB`)
  assert.deepEqual((await engine.generate(request)).rgb, first.rgb)
  assert.deepEqual((await engine.generate(exact)).rgb, before.rgb)
  const other = await open(t, cache)
  assert.deepEqual((await other.generate(request)).rgb, first.rgb, 'from the copies of the first')
  for (const part of ['unet', 'vae']) assert.equal((await readdir(join(cache, part))).length, 1)
})

test('weights that are kept packed, however few, give the same pictures in both precisions', async (t) => {
  const cache = tempFolder(t)
  const [plain, packing] = [await open(t, cache, 'fast'), await open(t, cache, 'packed')]
  // the size of the model, which is kept
  const requests = [exact, request].map((each) => ({ ...each, width: 128, height: 128, steps: 2 }))
  const drawn = async (engine: Engine) => {
    const pictures: Uint8Array[] = []
    for (const each of requests) pictures.push((await engine.generate(each)).rgb)
    return pictures
  }
  const wanted = await drawn(plain)
  assert.deepEqual(await drawn(packing), wanted)
  // text encoder; UNet and decoder of both precisions
  const packed = await readdir(join(cache, 'packed'))
  assert.equal(packed.length, 5)
  assert.deepEqual(await drawn(await open(t, cache, 'packed')), wanted)
  assert.deepEqual(await readdir(join(cache, 'packed')), packed)
})

test('LoRAs of both kinds are applied in eight bits, and leave nothing behind', async (t) => {
  const engine = await open(t, tempFolder(t))
  const plain = await engine.generate(request)
  for (const name of ['kohya', 'loha']) {
    const loras = [{ file: lora(name), strength: 1 }]
    const wanted = await engine.generate({ ...exact, loras })
    const picture = await engine.generate({ ...request, loras })
    assert.ok(psnr(picture.rgb, wanted.rgb) > least, `${name}: ${psnr(picture.rgb, wanted.rgb)} dB`)
    assert.ok(psnr(picture.rgb, wanted.rgb) > psnr(picture.rgb, plain.rgb), name)
  }
  assert.deepEqual((await engine.generate(request)).rgb, plain.rgb)
})

test('a size that is not square, with a picture to begin with, and a photo of another model in between', async (t) => {
  const engine = await open(t, tempFolder(t))
  const image = { rgb: new Uint8Array(64 * 96 * 3).fill(90), width: 96, height: 64, strength: 0.5 }
  // 72: the UNet's levels are not all half of another, so that it enlarges to other sizes than twice
  for (const size of [
    { width: 96, height: 64, image },
    { width: 72, height: 72 },
  ]) {
    const [picture, wanted] = [
      await engine.generate({ ...request, ...size }),
      await engine.generate({ ...exact, ...size }),
    ]
    assert.ok(psnr(picture.rgb, wanted.rgb) > least, `${psnr(picture.rgb, wanted.rgb)} dB`)
  }
})

test('a damaged or unfinished copy is written again; a changed checkpoint gets another', async (t) => {
  const [folder, cache] = [join(tempFolder(t), 'model'), tempFolder(t)]
  await cp(join(tiny, unetFile), join(folder, 'unet.safetensors'))
  const file = await openSafetensors(join(folder, 'unet.safetensors'))
  const { path, tensors } = await inEightBits(file, cache)
  const right = await readFile(path)
  await truncate(path, right.length / 2)
  assert.equal((await inEightBits(file, cache)).tensors.size, tensors.size)
  assert.deepEqual(await readFile(path), right)
  await writeFile(path, '')
  await writeFile(`${path}.1.partial`, right.subarray(0, 1000))
  await inEightBits(file, cache)
  assert.deepEqual(await readFile(path), right)
})

test('two threads that make a copy at the same time use the same one', async (t) => {
  const cache = tempFolder(t)
  const file = await openSafetensors(join(tiny, unetFile))
  const [one, other] = await Promise.all([inEightBits(file, cache), inEightBits(file, cache)])
  assert.deepEqual(one, other)
  assert.deepEqual(await readdir(cache), [one.name])
  assert.equal((await openSafetensors(one.path)).stamp, one.stamp, 'nobody replaced what is in use')
})

test('a weight that is no number is named, in a layer and beside one', async (t) => {
  for (const [key, bad] of [
    ['mid_block.resnets.0.conv1.weight', Number.NaN],
    ['conv_in.weight', Number.POSITIVE_INFINITY],
    ['mid_block.resnets.0.norm1.bias', Number.NEGATIVE_INFINITY],
  ] as const) {
    const file = await withWeight(t, key, (weights) => {
      weights[weights.length - 1] = bad
    })
    const cache = tempFolder(t)
    await assert.rejects(inEightBits(file, cache), (thrown: unknown) => {
      assert.ok(thrown instanceof CheckpointError)
      assert.match(thrown.message, new RegExp(`weight "${key}"`))
      assert.match(thrown.reason, /infinite or NaN/)
      return true
    })
    assert.deepEqual(await readdir(cache), [], 'nothing is left of it')
  }
})

test('outputs of zeros stay zeros; a layer with single huge weights stays float32, and is named', async (t) => {
  const key = 'mid_block.resnets.0.conv1.weight'
  const warnings: string[] = []
  const onWarning = (message: string) => warnings.push(message)
  const zeros = await withWeight(t, key, (weights) => weights.fill(0, 0, weights.length / 2))
  const eight = await inEightBits(zeros, tempFolder(t), { onWarning })
  assert.ok(eight.tensors.has(`${key}:int8`))
  assert.deepEqual(warnings, [])
  const huge = await withWeight(t, key, (weights) => {
    const usual = Math.sqrt(weights.reduce((sum, weight) => sum + weight * weight, 0) / weights.length)
    for (let output = 0; output < 32; output++) weights[(output * weights.length) / 32] = 60 * usual
  })
  const kept = await inEightBits(huge, tempFolder(t), { onWarning })
  assert.equal(kept.tensors.get(key)?.dtype, 'F32')
  assert.ok(!kept.tensors.has(`${key}:int8`))
  assert.match(warnings.join(), new RegExp(key))
})

test('each output has the scale of its largest weight, and a transposed place', () => {
  const bits = quantizeColumns(Float32Array.of(1, -2, 4, 0.5, 0, 0, 0, 0), [2, 2, 2])!
  assert.deepEqual([...bits.scales], [Math.fround(4 / 127), 1])
  // [pixel, channel, output]
  assert.deepEqual([...bits.values], [32, 0, 127, 0, -63, 0, 16, 0])
  assert.equal(quantizeColumns(Float32Array.of(1, Number.NaN), [1, 2, 1]), undefined)
})

test('a convolution behind an enlargement gives the same sums from the picture as it was', () => {
  const [channels, side] = [2, 3]
  const weights = Float32Array.from({ length: channels * 9 }, (_, i) =>
    Math.round(50 * Math.sin(i * 12.9898)),
  )
  const picture = Float32Array.from({ length: channels * side * side }, (_, i) => ((i * 7) % 11) - 5)
  /** Outside of it are zeros. */
  const at = (channel: number, y: number, x: number) =>
    y < 0 || x < 0 || y >= side || x >= side ? 0 : picture[(channel * side + y) * side + x]!
  const sums = Array.from({ length: 4 }, (_, pixel) => doubledWeights(weights, pixel))
  for (let y = 0; y < 2 * side; y++) {
    for (let x = 0; x < 2 * side; x++) {
      const pixel = 2 * (y % 2) + (x % 2)
      let [wanted, found] = [0, 0]
      for (let channel = 0; channel < channels; channel++) {
        for (let tap = 0; tap < 9; tap++) {
          const [row, column] = [y + Math.floor(tap / 3) - 1, x + (tap % 3) - 1]
          wanted += weights[channel * 9 + tap]! * at(channel, Math.floor(row / 2), Math.floor(column / 2))
        }
        for (const [tap, [down, right]] of doubledTaps(pixel).entries()) {
          const seen = at(channel, (y >> 1) + down - 1, (x >> 1) + right - 1)
          found += sums[pixel]![channel * 4 + tap]! * seen
        }
      }
      assert.equal(found, wanted, `pixel ${x}, ${y}`)
    }
  }
})
