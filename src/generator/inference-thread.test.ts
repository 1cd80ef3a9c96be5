import assert from 'node:assert/strict'
import { cpSync, existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import sharp from 'sharp'
import { tempFolder } from '../../test/cleanup.ts'
import { someRequest } from '../../test/contract/jobs.ts'
import {
  readContent,
  type Tensor,
  tensorOf,
  tinyCheckpoint,
  writeSafetensors,
} from '../../test/golden/parity/variants.ts'
import { pixels, startGenerator } from '../../test/models/generator.ts'
import { AppError } from '../jobs/errors.ts'
import type { Progress, ResolvedRequest } from '../jobs/job.ts'
import type { GeneratedImage, GenerateOptions } from '../jobs/ports.ts'

/** The inference thread with the real engine and small models: what it loads, keeps, and finds. */

const golden = join(import.meta.dirname, '../../test/golden')
const tinyFolder = join(golden, 'tiny-sd')

function modelsFolder(t: Parameters<typeof tempFolder>[0]): string {
  const dir = tempFolder(t)
  for (const name of ['vae', 'embeddings', 'loras']) mkdirSync(join(dir, name))
  cpSync(tinyCheckpoint, join(dir, 'one.safetensors'))
  cpSync(tinyFolder, join(dir, 'two'), { recursive: true })
  return dir
}

const code = (wanted: string) => (thrown: unknown) => thrown instanceof AppError && thrown.code === wanted

test('models are loaded when they are asked for and share the memory', async (t) => {
  const dir = modelsFolder(t)
  const { thread, make, holdings } = startGenerator(t, {
    PACKSHOT_MODELS_DIR: dir,
    PACKSHOT_MODEL: 'one',
    PACKSHOT_MODEL_MEMORY_MB: '8',
  })
  await thread.start()
  assert.deepEqual(holdings(), { models: ['one'], provider: 'cpu', profile: 'fast' })
  const first = await make({ model: 'one' })
  await make({ model: 'two' })
  assert.deepEqual(holdings()?.models, ['two'], 'both have no room')
  assert.deepEqual((await make({ model: 'one' })).bytes, first.bytes)
  assert.deepEqual(holdings()?.models, ['one'])
})

test('a picture in eight bits says so, and one that was drawn exactly in its place is the exact one', async (t) => {
  const { thread, make, news } = startGenerator(t, {
    PACKSHOT_MODELS_DIR: modelsFolder(t),
    PACKSHOT_MODEL: 'two',
    PACKSHOT_DATA_DIR: tempFolder(t),
  })
  await thread.start()
  const exact = await make({ model: 'two' })
  const eight = await make({ model: 'two', precision: 'int8' })
  assert.equal(exact.precision, undefined)
  // the worker decides by what its processor gains
  if (eight.precision === 'exact') assert.deepEqual(eight.bytes, exact.bytes)
  else {
    assert.match(Buffer.from(eight.bytes).toString('latin1'), /Packshot precision: int8/)
    assert.notDeepEqual(await pixels(eight), await pixels(exact))
  }
  await make({ model: 'two', precision: 'int8' })
  const measured = news.filter(({ type }) => type === 'eight bits')
  assert.partialDeepStrictEqual(measured, [{ gains: eight.precision !== 'exact' }])
  assert.equal(measured.length, 1)
})

test('where int8 is the default, a worker prepares at its start what it will draw with', async (t) => {
  const [dir, data] = [modelsFolder(t), tempFolder(t)]
  const { thread, make } = startGenerator(t, {
    PACKSHOT_MODELS_DIR: dir,
    PACKSHOT_MODEL: 'two',
    PACKSHOT_DATA_DIR: data,
    PACKSHOT_PRECISION: 'int8',
  })
  await thread.start()
  const prepared = existsSync(join(data, 'weights/unet'))
  // the worker decides by what its processor gains
  assert.equal(prepared, (await make({ model: 'two', precision: 'int8' })).precision !== 'exact')
})

test('a file that a job cannot use is told by its name and what it is, to the operator by path', async (t) => {
  const dir = modelsFolder(t)
  const key = 'lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k'
  const matrix = (...shape: number[]) => tensorOf(new Float32Array(768 * 16), shape, 'F16')
  writeSafetensors(join(dir, 'loras/wide one.safetensors'), {
    metadata: {},
    tensors: new Map([
      [`${key}.lora_down.weight`, matrix(16, 768)],
      [`${key}.lora_up.weight`, matrix(768, 16)],
    ]),
  })
  const { make } = startGenerator(t, { PACKSHOT_MODELS_DIR: dir, PACKSHOT_MODEL: 'one' })
  await assert.rejects(
    make({ model: 'one', loras: [{ name: 'wide one', strength: 1 }] }),
    (error: unknown) => {
      assert.ok(error instanceof AppError)
      assert.equal(error.code, 'model_invalid')
      assert.match(
        error.message,
        /^The LoRA wide one cannot be used: the LoRA is made for Stable Diffusion 1\.x, whose text states/,
      )
      assert.ok(!error.message.includes(dir) && !error.message.includes('lora_unet'))
      assert.ok(error.detail?.startsWith(join(dir, 'loras/wide one.safetensors')))
      return true
    },
  )
  await make({ model: 'one' })
})

test('a picture that needs more memory than there is is refused before it is computed, and the next one is made', async (t) => {
  const { make } = startGenerator(t, {
    PACKSHOT_MODELS_DIR: modelsFolder(t),
    PACKSHOT_MODEL: 'one',
    PACKSHOT_MODEL_MEMORY_MB: '8',
  })
  const plain = await make({ model: 'one' })
  await assert.rejects(make({ model: 'one', width: 512, height: 512 }), (thrown: unknown) => {
    assert.ok(thrown instanceof AppError)
    assert.equal(thrown.code, 'too_large')
    assert.match(thrown.message, /needs about \d+ MiB of memory; a worker may use 8 MiB/)
    return true
  })
  assert.deepEqual(pixels(await make({ model: 'one' })), pixels(plain))
  const long = { model: 'one', prompt: Array.from({ length: 17 }, () => 'apple').join(' BREAK ') }
  await assert.rejects(make(long), { code: 'too_large', message: /at most 16 windows .* has 17/ })
})

test('a default model without a VAE makes the same pictures with a file of its VAE', async (t) => {
  const dir = modelsFolder(t)
  const { tensors, metadata } = await readContent(tinyCheckpoint)
  const prefix = 'first_stage_model.'
  const part = (own: boolean) => [...tensors].filter(([name]) => name.startsWith(prefix) === own)
  writeSafetensors(join(dir, 'bare.safetensors'), { metadata, tensors: new Map(part(false)) })
  const vae = part(true).map(([name, tensor]): [string, Tensor] => [name.slice(prefix.length), tensor])
  writeSafetensors(join(dir, 'vae/soft.safetensors'), { metadata, tensors: new Map(vae) })
  const { thread, make } = startGenerator(t, { PACKSHOT_MODELS_DIR: dir, PACKSHOT_MODEL: 'bare' })
  await thread.start()
  assert.deepEqual(pixels(await make({ model: 'bare' })), pixels(await make({ model: 'one' })))
})

test('pictures carry no prompt if the operator wants none in them, in any format', async (t) => {
  const PACKSHOT_MODELS_DIR = modelsFolder(t)
  for (const [pictureSettings, has] of [
    ['on', true],
    ['off', false],
  ] as const) {
    const env = { PACKSHOT_MODELS_DIR, PACKSHOT_MODEL: 'one', PACKSHOT_PICTURE_SETTINGS: pictureSettings }
    const { make } = startGenerator(t, env)
    for (const format of ['png', 'jpeg', 'webp'] as const) {
      const { bytes } = await make({ model: 'one', format, prompt: 'secret apple' })
      const text = Buffer.from(bytes).toString('latin1').replaceAll('\0', '')
      assert.equal(text.includes('secret apple'), has, `${pictureSettings} ${format}`)
    }
  }
})

test('with room, both stay', async (t) => {
  const { make, holdings } = startGenerator(t, {
    PACKSHOT_MODELS_DIR: modelsFolder(t),
    PACKSHOT_MODEL: 'one',
    PACKSHOT_MODEL_MEMORY_MB: '200',
  })
  await make({ model: 'TWO' })
  assert.deepEqual(holdings()?.models, ['two', 'one'])
})

test('two threads of one process each report what they hold themselves', async (t) => {
  const dir = modelsFolder(t)
  const [one, two] = ['one', 'two'].map((name) =>
    startGenerator(t, { PACKSHOT_MODELS_DIR: dir, PACKSHOT_MODEL: name }),
  )
  await one?.thread.start()
  await two?.thread.start()
  assert.deepEqual([one?.holdings()?.models, two?.holdings()?.models], [['one'], ['two']])
})

test('what is put into the folder is found without a restart, what is not there is said so', async (t) => {
  const dir = modelsFolder(t)
  const { make } = startGenerator(t, { PACKSHOT_MODELS_DIR: dir, PACKSHOT_MODEL: 'one' })
  const plain = await make({ model: 'one' })
  await assert.rejects(make({ model: 'three' }), code('unavailable'))
  const loras = [{ name: 'picture-a', strength: 0.8 }]
  await assert.rejects(make({ model: 'one', loras }), /has the lora picture-a/)

  cpSync(tinyCheckpoint, join(dir, 'three.partial'))
  renameSync(join(dir, 'three.partial'), join(dir, 'three.safetensors'))
  assert.deepEqual(pixels(await make({ model: 'three' })), pixels(plain))
  cpSync(join(golden, 'parity/loras/picture-a.safetensors'), join(dir, 'loras/picture-a.safetensors'))
  assert.notDeepEqual(pixels(await make({ model: 'one', loras })), pixels(plain))
  assert.deepEqual(pixels(await make({ model: 'one' })), pixels(plain))
  const before = await make({ model: 'one', negative_prompt: 'tinyneg' })
  cpSync(join(golden, 'parity/embeddings/tinyneg.safetensors'), join(dir, 'embeddings/tinyneg.safetensors'))
  const after = await make({ model: 'one', negative_prompt: 'tinyneg' })
  assert.notDeepEqual(pixels(after), pixels(before))

  rmSync(join(dir, 'three.safetensors'))
  await assert.rejects(make({ model: 'three' }), code('unavailable'))
})

test('a default model that is not there is refused with the names of those that are', async (t) => {
  const { thread } = startGenerator(t, { PACKSHOT_MODELS_DIR: modelsFolder(t), PACKSHOT_MODEL: 'nine' })
  await assert.rejects(thread.start(), {
    message: 'There is no model nine.',
    detail:
      /There is no model nine in .*; known models are one, two, packshot-mini\. Set PACKSHOT_MODEL to one of them, or to a path\./,
  })
})

test('a preview is a small JPEG, and the file of the picture is the same with it', async (t) => {
  const dir = modelsFolder(t)
  const { thread } = startGenerator(t, { PACKSHOT_MODELS_DIR: dir, PACKSHOT_MODEL: 'one' })
  const request = someRequest({ model: 'one', width: 320, height: 64, steps: 3 })
  const files = async (count: number) => {
    const previews: Uint8Array[] = []
    const options = {
      signal: new AbortController().signal,
      onProgress: () => {},
      previews: { count, onPreview: ({ bytes }: { bytes: Uint8Array }) => void previews.push(bytes) },
    }
    let picture: GeneratedImage | undefined
    for await (const made of thread.generate(request, options)) picture = made
    return { previews, picture }
  }
  const { previews, picture } = await files(2)
  const facts = await Promise.all(previews.map((bytes) => sharp(bytes).metadata()))
  assert.deepEqual(
    facts.map(({ format, width, height }) => [format, width, height]),
    [
      ['jpeg', 256, 51],
      ['jpeg', 256, 51],
    ],
  )
  assert.deepEqual(picture?.bytes, (await files(0)).picture?.bytes)
})

test('a kept product is in a set of its own, in the size of its photo; cut out alone; refused if there is none', async (t) => {
  const { make } = startGenerator(t, { PACKSHOT_MODELS_DIR: modelsFolder(t), PACKSHOT_MODEL: 'one' })
  const part = { create: { width: 60, height: 80, channels: 4 as const, background: '#c02010' } }
  const photo = (background: string) =>
    sharp({ create: { width: 240, height: 120, channels: 4, background } })
      .composite([{ input: part, left: 90, top: 20 }])
      .png()
      .toBuffer()
  const request = { model: 'one', keep: 'product', init_image: 'photo', width: 128, height: 64 } as const
  const cut = { init: await photo('#90909000') }
  const made = await make({ ...request, strength: 1 }, cut)
  const { data, info } = await sharp(made.bytes).raw().toBuffer({ resolveWithObject: true })
  const at = (x: number, y: number) => [
    ...data.subarray((y * 240 + x) * info.channels, (y * 240 + x) * info.channels + 3),
  ]
  assert.deepEqual([made.width, made.height, info.width, info.height], [240, 120, 240, 120])
  assert.deepEqual([at(120, 60), at(95, 25)], Array(2).fill([0xc0, 0x20, 0x10]))
  assert.notDeepEqual(at(20, 60), [0x90, 0x90, 0x90])
  assert.deepEqual([made.measured?.inside, made.measured?.tries], [true, 1])
  const alone = await make({ ...request, width: 120, height: 120, strength: 0 }, cut)
  assert.deepEqual([alone.width, alone.height], [120, 60])
  assert.equal((await sharp(alone.bytes).metadata()).hasAlpha, true)
  const blank = await sharp({ create: { width: 240, height: 120, channels: 3, background: '#fff' } })
    .png()
    .toBuffer()
  await assert.rejects(make({ ...request, strength: 1 }, { init: await photo('#909090'), mask: blank }), {
    code: 'invalid_upload',
    message: /keeps nothing/,
  })
})

test('pictures that are drawn at the same time, of one job or of several, have the files of pictures drawn alone', async (t) => {
  const env = { PACKSHOT_MODELS_DIR: modelsFolder(t), PACKSHOT_MODEL: 'one' }
  const alone = startGenerator(t, env)
  const { thread } = startGenerator(t, { ...env, PACKSHOT_BATCH: '4' })
  await thread.start()
  assert.equal(thread.together?.(), 4)
  const seen: string[] = []
  const run = async (
    fields: Partial<ResolvedRequest>,
    onProgress: GenerateOptions['onProgress'] = () => {},
  ) => {
    const request = someRequest({ model: 'one', width: 64, height: 64, ...fields })
    const options = {
      signal: new AbortController().signal,
      onProgress,
      onFree: () => void seen.push(`free ${request.prompt}`),
    }
    const files: Uint8Array[] = []
    for await (const { bytes } of thread.generate(request, options)) files.push(bytes)
    return files
  }
  const progress: Progress[] = []
  const gate = { tries: 2 }
  const [four, pear, jpeg, late] = await Promise.all([
    run({ prompt: 'four', steps: 3, count: 4, seed: 5 }, (at) => void progress.push(at)),
    run({ prompt: 'pear', steps: 5, gate, count: 2 }),
    run({ prompt: 'jpeg', format: 'jpeg', steps: 2 }),
    run({ prompt: 'late', steps: 4, width: 128 }),
  ])
  const wanted = async (fields: Partial<ResolvedRequest>) => (await alone.make(fields)).bytes
  const base = someRequest({ model: 'one', width: 64, height: 64 })
  for (const [n, file] of four?.entries() ?? []) {
    const same = await wanted({ ...base, prompt: 'four', steps: 3, seed: 5 + n })
    assert.deepEqual(file, same, `picture ${n}`)
  }
  assert.deepEqual(jpeg?.[0], await wanted({ ...base, prompt: 'jpeg', format: 'jpeg', steps: 2 }))
  assert.deepEqual(late?.[0], await wanted({ ...base, prompt: 'late', steps: 4, width: 128 }))
  assert.equal(pear?.length, 2)
  const judged: Uint8Array[] = []
  const asked = { ...base, prompt: 'pear', steps: 5, gate, count: 2 }
  const options = { signal: new AbortController().signal, onProgress: () => {} }
  for await (const { bytes } of alone.thread.generate(asked, options)) judged.push(bytes)
  assert.deepEqual(pear, judged, 'judged in their order')
  assert.deepEqual(seen.toSorted(), ['free four', 'free jpeg', 'free late', 'free pear'])
  assert.deepEqual(
    progress.map(({ step, steps }) => [step, steps]),
    Array.from({ length: 12 }, (_, n) => [n + 1, 12]),
  )
})

test('a run that is canceled, or fails, beside others ends alone', async (t) => {
  const env = { PACKSHOT_MODELS_DIR: modelsFolder(t), PACKSHOT_MODEL: 'one', PACKSHOT_BATCH: '4' }
  const { thread, make } = startGenerator(t, env)
  await thread.start()
  const controller = new AbortController()
  const enough = new Error('enough')
  const base = { model: 'one', width: 64, height: 64 }
  const run = async (
    fields: Partial<ResolvedRequest>,
    signal = new AbortController().signal,
    onProgress: GenerateOptions['onProgress'] = () => {},
  ) => {
    const files: Uint8Array[] = []
    for await (const { bytes } of thread.generate(someRequest({ ...base, ...fields }), {
      signal,
      onProgress,
    }))
      files.push(bytes)
    return files
  }
  const stop = ({ step }: Progress) => {
    if (step >= 3) controller.abort(enough)
  }
  const canceled = assert.rejects(run({ steps: 50, count: 2 }, controller.signal, stop), enough)
  const failed = assert.rejects(run({ guidance_scale: 1e39, steps: 9 }), code('model_invalid'))
  const [file] = await run({ steps: 20, seed: 3 })
  await canceled
  await failed
  assert.deepEqual(file, (await make(someRequest({ ...base, steps: 20, seed: 3 }))).bytes)
})
