import assert from 'node:assert/strict'
import { cp, readFile, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { lastFirst, tempFolder } from '../../test/cleanup.ts'
import { contentOf, hashed, taesdShapes } from '../../test/golden/enlarge-weights.ts'
import { writeSafetensors } from '../../test/golden/parity/variants.ts'
import { type Engine, openEngine } from './engine.ts'
import { openLora } from './lora/lora.ts'
import { LatentColours } from './preview/latent-colours.ts'
import type { Picture, PictureRequest } from './request.ts'
import { openSafetensors } from './safetensors/safetensors.ts'

const golden = join(import.meta.dirname, '../../test/golden')
const tiny = join(golden, 'tiny-sd')
const lora = (name: string) => join(golden, 'parity/loras', `${name}.safetensors`)

const request: PictureRequest = {
  prompt: 'a red apple',
  negativePrompt: '',
  width: 64,
  height: 64,
  steps: 2,
  guidanceScale: 5,
  sampler: 'dpmpp_2m',
  schedule: 'karras',
  seed: 7,
}

async function open(t: TestContext, model = tiny): Promise<Engine> {
  const engine = await openEngine({ model, provider: 'cpu', threads: 1 })
  lastFirst(t).after(() => engine.close())
  return engine
}

async function copyOfTiny(t: TestContext): Promise<{ folder: string; unet: string }> {
  const folder = join(tempFolder(t), 'model')
  await cp(tiny, folder, { recursive: true })
  return { folder, unet: join(folder, 'unet/diffusion_pytorch_model.safetensors') }
}

test('another strength of a LoRA is another picture, and loads nothing anew', async (t) => {
  const engine = await open(t)
  const plain = await engine.generate(request)
  const withLora = (strength: number) =>
    engine.generate({ ...request, loras: [{ file: lora('kohya'), strength }] })
  const strong = await withLora(1)
  const held = engine.bytes
  const weak = await withLora(0.3)
  assert.equal(engine.bytes, held, 'the sessions of the first strength serve the second')
  assert.notDeepEqual(strong.rgb, weak.rgb)
  assert.notDeepEqual(strong.rgb, plain.rgb)
  assert.deepEqual((await withLora(0)).rgb, plain.rgb)
  assert.deepEqual((await engine.generate(request)).rgb, plain.rgb, 'nothing of it is left behind')
})

test('a step without guidance is one row of the model, with it two, and its end is where it was asked for', async (t) => {
  const engine = await open(t)
  const rows = await rowsOfCalls(engine)
  assert.deepEqual(await rows({ guidanceScale: 1 }), [1, 1])
  assert.deepEqual(await rows({ guidanceScale: 0 }), [1, 1])
  assert.deepEqual(await rows({}), [2, 2])
  assert.deepEqual(await rows({ steps: 4, guidanceEnd: 0.5 }), [2, 2, 1, 1])
  assert.deepEqual(await rows({ steps: 4, guidanceEnd: 0.05 }), [2, 1, 1, 1])
  assert.deepEqual(await rows({ steps: 4, guidanceEnd: 1 }), [2, 2, 2, 2])
  assert.deepEqual(await rows({ steps: 4, guidanceEnd: 0.5, guidanceScale: 1 }), [1, 1, 1, 1])
  const heun = { sampler: 'heun', schedule: 'karras', steps: 4, guidanceEnd: 0.5 } as const
  assert.deepEqual(await rows(heun), [2, 2, 2, 2, 1, 1, 1])
  const image = { rgb: new Uint8Array(64 * 64 * 3), width: 64, height: 64, strength: 0.5 }
  assert.deepEqual(await rows({ steps: 8, guidanceEnd: 0.5, image }), [2, 2, 1, 1])
  await assert.rejects(rows({ guidanceEnd: 0 }), RangeError)
})

/** For how many rows a picture's calls of the model are. */
async function rowsOfCalls(engine: Engine) {
  const { cross_attention_dim: width } = engine.model.architecture.unet
  const networks = engine.networks.bind(engine)
  let seen: number[] = []
  engine.networks = (loras) => {
    const own = networks(loras)
    return {
      ...own,
      predict(sample, timestep, text, size) {
        seen.push(text.states.length / (text.tokens * width))
        return own.predict(sample, timestep, text, size)
      },
    }
  }
  return async (more: Partial<PictureRequest>) => {
    seen = []
    await engine.generate({ ...request, ...more })
    return seen
  }
}

test('weights that a LoRA replaces are counted once, with the session that they are fed to', async (t) => {
  const [plain, replaced] = [await open(t), await open(t)]
  await plain.generate(request)
  await replaced.generate({ ...request, loras: [{ file: lora('loha'), strength: 1 }] })
  assert.equal(replaced.bytes, plain.bytes)
})

test('networks with other LoRAs do not disturb each other', async (t) => {
  const engine = await open(t)
  const kohya = { lora: await openLora(lora('kohya'), engine.model), strengths: { text: 1, unet: 1 } }
  const embeddings = Float32Array.from({ length: 77 * 32 }, (_, i) => Math.sin(i))
  const [plain, strong] = [engine.networks(), engine.networks([kohya])]
  const alone = await strong.encodeText(embeddings, 1)
  const without = await plain.encodeText(embeddings, 1)
  assert.notDeepEqual(alone, without)
  assert.deepEqual(await strong.encodeText(embeddings, 1), alone)
  assert.deepEqual(await plain.encodeText(embeddings, 1), without)
  assert.deepEqual(
    await engine.networks([{ ...kohya, strengths: { text: 0, unet: 1 } }]).encodeText(embeddings, 1),
    without,
  )
})

/** A copy of the model in which one value of a file is not a number. */
async function withNaN(t: TestContext, part: string, key: string): Promise<string> {
  const { folder } = await copyOfTiny(t)
  const path = join(folder, part, 'diffusion_pytorch_model.safetensors')
  const bytes = await readFile(path)
  const { offset, dtype } = (await openSafetensors(path)).tensors.get(key)!
  if (dtype === 'F16') bytes.writeUInt16LE(0x7e00, offset)
  else bytes.writeFloatLE(Number.NaN, offset)
  await writeFile(path, bytes)
  return folder
}

test('weights that are not finite are reported, whichever network has them', async (t) => {
  const source = { rgb: new Uint8Array(3 * 64 * 64).fill(99), width: 64, height: 64, strength: 0.5 }
  for (const [part, key, asked, message] of [
    [
      'unet',
      'conv_in.weight',
      request,
      /^the model gave no finite numbers at call 1: its weights.* are damaged/,
    ],
    ['vae', 'decoder.conv_in.weight', request, /^the VAE gave no finite numbers: its weights are damaged/],
    ['vae', 'decoder.conv_out.bias', request, /^the VAE gave no finite numbers/],
    ['vae', 'encoder.conv_in.weight', { ...request, image: source }, /^the VAE gave no finite numbers/],
  ] as const) {
    const engine = await open(t, await withNaN(t, part, key))
    await assert.rejects(engine.generate(asked), { name: 'CheckpointError', message })
  }
})

test('a VAE that overflows in half precision computes in float32 from then on, and the log says so', async (t) => {
  const { folder } = await copyOfTiny(t)
  const path = join(folder, 'vae/diffusion_pytorch_model.safetensors')
  const bytes = await readFile(path)
  const { offset, length } = (await openSafetensors(path)).tensors.get('decoder.conv_in.weight')!
  const weights = new Float32Array(bytes.buffer, bytes.byteOffset + offset, length / 4)
  const largest = Math.max(...weights.map(Math.abs))
  for (const [i, weight] of weights.entries()) weights[i] = (weight / largest) * 60_000
  await writeFile(path, bytes)
  const wanted = (await (await open(t, folder)).generate(request)).rgb

  const warnings: string[] = []
  const onWarning = (message: string) => void warnings.push(message)
  const half = await openEngine({
    model: folder,
    provider: 'cpu',
    threads: 1,
    precision: 'float16',
    onWarning,
  })
  lastFirst(t).after(() => half.close())
  for (const rgb of [(await half.generate(request)).rgb, (await half.generate(request)).rgb]) {
    assert.ok(rgb.every((value, i) => Math.abs(value - wanted[i]!) <= 4))
  }
  assert.deepEqual(warnings, ['The VAE overflows in half precision; it computes in float32 from now on.'])
})

test('a file that changes while it is in use is told at the next session', async (t) => {
  const { folder, unet } = await copyOfTiny(t)
  const engine = await open(t, folder)
  await engine.generate(request)
  await utimes(unet, 1, 1)
  await engine.generate(request)
  await assert.rejects(engine.generate({ ...request, width: 128 }), {
    name: 'CheckpointError',
    message: /the file changed while it was in use/,
  })
})

test('an embedding is read when a prompt names it, and again when its file changed', async (t) => {
  const engine = await open(t)
  const [good, broken] = [join(tempFolder(t), 'style.safetensors'), join(tempFolder(t), 'apples.safetensors')]
  await cp(join(golden, 'embeddings/tinystyle.safetensors'), good)
  await writeFile(broken, 'nothing')
  const embeddings = new Map([
    ['style', good],
    ['apples', broken],
  ])
  const plain = await engine.generate(request)
  assert.deepEqual((await engine.generate({ ...request, embeddings })).rgb, plain.rgb)
  const named = { ...request, prompt: 'a red apple, style', embeddings }
  const styled = await engine.generate(named)
  assert.notDeepEqual(styled.rgb, (await engine.generate({ ...named, embeddings: new Map() })).rgb)
  await assert.rejects(engine.generate({ ...request, negativePrompt: 'apples', embeddings }), {
    name: 'CheckpointError',
    message: /apples\.safetensors/,
  })
  await writeFile(good, 'nothing')
  await assert.rejects(engine.generate(named), { name: 'CheckpointError', message: /style\.safetensors/ })
})

test('previews change no bit of the picture, whatever draws noise', async (t) => {
  const engine = await open(t)
  const rgb = Uint8Array.from({ length: 3 * 64 * 64 }, (_, i) => (i * 7) % 256)
  const mask = Uint8Array.from({ length: 64 * 64 }, (_, i) => (i % 64 < 32 ? 255 : 0))
  const image = { rgb, width: 64, height: 64, strength: 0.8, mask }
  for (const [sampler, more] of [
    ['dpmpp_2m', {}],
    ['euler_ancestral', {}],
    ['dpmpp_sde', {}],
    ['pndm', {}],
    ['dpmpp_2m_sde', { image }],
  ] as const) {
    const schedule = sampler === 'pndm' ? 'leading' : 'karras'
    const wanted = { ...request, steps: 5, sampler, schedule, ...more } as const
    const seen: Picture[] = []
    const previews = { count: 3, show: (picture: Picture) => void seen.push(picture) }
    const shown = await engine.generate(wanted, { previews })
    assert.deepEqual(shown.rgb, (await engine.generate(wanted)).rgb, sampler)
    assert.deepEqual(
      seen.map(({ width, height, rgb: { length } }) => [width, height, length]),
      // one pixel for each latent
      Array.from({ length: 3 }, () => [8, 8, 3 * 8 * 8]),
      sampler,
    )
  }
})

test('a tiny VAE decodes the picture when asked, and previews when it is there; both leave the sample alone', async (t) => {
  const file = join(tempFolder(t), 'taesd.safetensors')
  writeSafetensors(file, contentOf(taesdShapes()))
  const engine = await open(t)
  const seen: Picture[] = []
  const show = (picture: Picture) => void seen.push(picture)
  const full = await engine.generate(request, { previews: { count: 1, decoder: file, show } })
  const [preview] = seen
  assert.deepEqual([preview?.width, preview?.height], [64, 64])
  assert.deepEqual((await engine.generate(request)).rgb, full.rgb)
  const tinily = await engine.generate({ ...request, decoder: file })
  assert.notDeepEqual(tinily.rgb, full.rgb)
  assert.deepEqual([tinily.width, tinily.height], [64, 64])
  assert.deepEqual((await engine.generate({ ...request, decoder: file })).rgb, tinily.rgb)
  const { tensors, metadata } = contentOf(taesdShapes())
  const first = tensors.get('decoder.layers.0.weight')
  if (first)
    tensors.set('decoder.layers.0.weight', { ...first, bytes: new Uint8Array(first.bytes.length).fill(255) })
  writeSafetensors(file, { tensors, metadata })
  await assert.rejects(engine.generate({ ...request, decoder: file }), /the tiny VAE gave no finite numbers/)
})

test('previews without a decoder: none is decoded for colours that are known, one for those that are not', async () => {
  const size = { height: 6, width: 5 }
  const sample = hashed('sample', 6 * 30).map((value) => 2 * value)
  const known = new LatentColours(4, 8)
  assert.ok(known.isKnown)
  assert.deepEqual(
    [known.show(sample.slice(0, 120), size).width, known.show(sample.slice(0, 120), size).height],
    [5, 6],
  )
  const fitted = new LatentColours(6, 8)
  assert.ok(!fitted.isKnown)
  // each channel of a pixel is a mean of two latents: a linear map, which is found again
  const planes = new Float32Array(3 * 48 * 40)
  for (let i = 0; i < planes.length; i++) {
    const [colour, y, x] = [Math.floor(i / 1920), Math.floor((i % 1920) / 40), i % 40]
    const at = Math.floor(y / 8) * 5 + Math.floor(x / 8)
    planes[i] =
      0.2 * ((sample[2 * colour * 30 + at] as number) + (sample[(2 * colour + 1) * 30 + at] as number))
  }
  fitted.learn(sample, planes, size)
  const { rgb, width, height } = fitted.show(sample, size)
  assert.deepEqual([width, height], [10, 12])
  for (let y = 0; y < 12; y++) {
    for (let x = 0; x < 10; x++) {
      const value = planes[4 * y * 40 + 4 * x] as number
      const found = rgb[3 * (10 * y + x)] as number
      assert.ok(Math.abs(found - 127.5 * (value + 1)) < 4, `${found} at ${x},${y}`)
    }
  }
})
