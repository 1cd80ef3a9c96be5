import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { LightMyRequestResponse } from 'fastify'
import { type DialectServer, dialectServer, pngFile } from '../../../../test/jobs/dialect-server.ts'
import { waitFor } from '../../../../test/kit/waiting.ts'
import { encodeLossy } from '../../../adapters/pictures/encode.ts'
import { encodePng } from '../../../diffusion/output/png.ts'
import { AppError } from '../../../jobs/errors.ts'
import { infotextOf } from '../../infotext-file.ts'

/** The calls of the web UI's clients, and what they must never get. */

const api = (name: string) => `/sdapi/v1/${name}`
const asked = { prompt: 'a red apple' }
const decoded = (images: string[]) => images.map((image) => Buffer.from(image, 'base64').toString())

function assertFault(answer: LightMyRequestResponse, status: number, detail: string | RegExp): void {
  assert.equal(answer.statusCode, status, answer.body)
  const body = answer.json()
  assert.deepEqual(Object.keys(body), ['error', 'detail', 'body', 'errors'])
  if (typeof detail === 'string') assert.equal(body.detail, detail)
  else assert.match(body.detail, detail)
}

async function requestOf({ app, accepted }: DialectServer) {
  return (await app.inject(`/v1/jobs/${accepted.at(-1)}`)).json().request
}

suite('pictures', () => {
  test('bare base64, and info as JSON in a text; the job is an ordinary one', async (t) => {
    const server = await dialectServer(t)
    const answer = await server.post(api('txt2img'), {
      ...asked,
      negative_prompt: 'blur',
      seed: 7,
      batch_size: 2,
      n_iter: 3,
      steps: 3,
      cfg_scale: 4,
      width: 128,
      height: 256,
      sampler_name: 'DPM++ 2M',
      scheduler: 'Karras',
      override_settings: { CLIP_stop_at_last_layers: 2, sd_vae: 'sharp-vae.safetensors' },
    })
    assert.equal(answer.statusCode, 200, answer.body)
    const { images, info, parameters } = answer.json()
    const seeds = [7, 8, 9, 10, 11, 12]
    assert.deepEqual(
      decoded(images),
      seeds.map((seed) => `picture of seed ${seed}`),
    )
    const said = JSON.parse(info)
    assert.deepEqual(said.all_seeds, seeds)
    assert.deepEqual(
      [said.seed, said.sampler_name, said.clip_skip, said.index_of_first_image, said.batch_size],
      [7, 'DPM++ 2M', 2, 0, 2],
    )
    assert.equal(parameters.prompt, 'a red apple')
    const { clip_skip, vae, schedule, steps, guidance_scale } = await requestOf(server)
    assert.deepEqual([clip_skip, vae, schedule, steps, guidance_scale], [2, 'sharp-vae', 'karras', 3, 4])
    assert.equal(answer.headers['x-job-id'], server.accepted.join(', '))
  })

  test('what clients send without meaning it passes', async (t) => {
    const server = await dialectServer(t)
    const answer = await server.post(api('txt2img'), {
      ...asked,
      url: 'http://localhost',
      auth: '',
      seed: -1,
      subseed: -1,
      subseed_strength: 0,
      seed_resize_from_h: -1,
      styles: [],
      eta: 1,
      s_churn: 0,
      tiling: false,
      restore_faces: null,
      enable_hr: false,
      hr_upscaler: 'Latent',
      hr_scale: 2,
      denoising_strength: 0.7,
      sampler_name: null,
      sampler_index: 'DDIM',
      scheduler: 'Automatic',
      script_name: null,
      script_args: [],
      alwayson_scripts: {
        ControlNet: { args: [] },
        ADetailer: { args: [false, {}] },
        Other: { args: [{ enabled: false }] },
      },
      use_deprecated_controlnet: false,
      override_settings: {},
      send_images: false,
    })
    assert.equal(answer.statusCode, 200, answer.body)
    assert.deepEqual(answer.json().images, [])
    assert.equal((await requestOf(server)).sampler, 'ddim')
  })

  test('what would be another picture than was meant is refused', async (t) => {
    const { post } = await dialectServer(t, { works: false })
    const wrong: [unknown, number, string | RegExp][] = [
      [{ sampler_name: 'Nonesuch' }, 404, 'Sampler not found'],
      [{ sampler_index: 'DPM fast' }, 404, 'Sampler not found'],
      [{ scheduler: 'Turbo' }, 404, 'Scheduler not found'],
      [{ sampler_name: 'DDIM', scheduler: 'Karras' }, 422, /^scheduler: schedule must be one of/],
      [
        { override_settings: { sd_model_checkpoint: 'other' } },
        404,
        /sd_model_checkpoint must be one of stand-in/,
      ],
      [{ override_settings: { sd_vae: 'other' } }, 404, /There is no VAE "other"/],
      [{ override_settings: { CLIP_stop_at_last_layers: 99 } }, 422, /from 1 to 12/],
      [{ enable_hr: true }, 422, /enable_hr is not supported/],
      [{ restore_faces: true }, 422, /restore_faces/],
      [{ tiling: true }, 422, /tiling/],
      [{ subseed_strength: 0.5 }, 422, /subseed_strength/],
      [{ styles: ['x'] }, 422, /styles must be empty/],
      [{ script_name: 'x/y/z plot' }, 422, /script_name/],
      [{ refiner_checkpoint: 'x' }, 422, /refiner_checkpoint/],
      [{ alwayson_scripts: { ControlNet: { args: [{ image: 'x' }] } } }, 422, /no script "ControlNet"/],
      [{ batch_size: 5, n_iter: 4 }, 422, /at most 16, but was 20/],
      [{ batch_size: 0 }, 422, /batch_size must be/],
      [{ width: 7 }, 422, /width must be/],
      [{ prompt: '' }, 422, /prompt must be/],
      [{ prompt: { a: 1 } }, 422, /an object/],
      [{ cfg_scale: 'much' }, 422, /cfg_scale/],
      ['[]', 422, /JSON object/],
      ['{', 400, /JSON/],
      ['', 422, /prompt/],
    ]
    for (const [body, status, detail] of wrong) {
      const sent = typeof body === 'string' ? body : { ...asked, ...Object(body) }
      assertFault(await post(api('txt2img'), sent), status, detail)
    }
    // bodies of other dialects
    for (const body of [{ inputs: 'a red apple' }, { input: { prompt: 'a red apple' } }]) {
      assertFault(await post(api('txt2img'), body), 422, /prompt/)
    }
  })

  test('a picture to start from, bare or as a data: address, with a mask', async (t) => {
    const server = await dialectServer(t)
    const png = (await pngFile()).toString('base64')
    for (const init of [png, `data:image/png;base64,${png}`]) {
      const answer = await server.post(api('img2img'), {
        ...asked,
        init_images: [init],
        mask: png,
        denoising_strength: 0.5,
        mask_blur: 4,
        inpainting_fill: 1,
        inpaint_full_res: true,
        inpainting_mask_invert: 0,
        resize_mode: 0,
      })
      assert.equal(answer.statusCode, 200, answer.body)
      const { init_image, mask, strength } = await requestOf(server)
      // the same file is stored once
      assert.deepEqual([init_image, strength], [mask, 0.5])
    }
    const wrong: [object, number, string | RegExp][] = [
      [{}, 404, 'Init image not found'],
      [{ init_images: [] }, 404, 'Init image not found'],
      [{ init_images: [null] }, 404, 'Init image not found'],
      [{ init_images: [png, png] }, 422, /one picture/],
      [{ init_images: [''] }, 422, /init_images must be a picture/],
      [{ init_images: [7] }, 422, /init_images must be a picture/],
      [{ init_images: ['http://169.254.169.254/latest'] }, 422, /addresses are not fetched/],
      [{ init_images: ['data:image/png,abc'] }, 422, /data: address in base64/],
      [{ init_images: ['%%%%'] }, 422, /not base64/],
      [{ init_images: ['aGVsbG8='] }, 422, /PNG, JPEG or WebP/],
      [{ init_images: [png.slice(0, 80)] }, 422, /init_images: /],
      [{ init_images: ['A'.repeat(300_000)] }, 413, /at most 200000 bytes/],
      [{ init_images: ['A'.repeat(900_000)] }, 413, /The body must have at most/],
      [{ init_images: [png], mask: '!' }, 422, /mask is not base64/],
      [{ init_images: [png], inpainting_mask_invert: 1 }, 422, /inpainting_mask_invert/],
      [{ init_images: [png], denoising_strength: 2 }, 422, /denoising_strength/],
    ]
    for (const [body, status, detail] of wrong)
      assertFault(await server.post(api('img2img'), { ...asked, ...body }), status, detail)
  })

  test('force_task_id names a call: a repeat gets the same pictures, another request is refused', async (t) => {
    const { post, accepted } = await dialectServer(t)
    const body = { ...asked, n_iter: 5, force_task_id: 'task(1)' }
    const first = (await post(api('txt2img'), body)).json()
    const again = (await post(api('txt2img'), body)).json()
    assert.deepEqual(again.images, first.images)
    assert.equal(new Set(first.images).size, 5)
    assert.equal(new Set(accepted).size, 2)
    assertFault(await post(api('txt2img'), { ...body, prompt: 'a pear' }), 422, /already used/)
  })

  test('a job that fails, a full queue, and a call that is held for too long', async (t) => {
    const failing = await dialectServer(t, {
      onStep: () => {
        throw new AppError('too_large', 'It needs more memory than there is.')
      },
    })
    assertFault(await failing.post(api('txt2img'), asked), 500, /more memory/)
    const idle = await dialectServer(t, { works: false, queueMax: 1, holdSeconds: 1 })
    const held = await idle.post(api('txt2img'), asked)
    assertFault(held, 504, /is not finished yet/)
    assert.equal(held.headers['x-job-id'], idle.accepted[0])
    assert.ok(Number((await idle.post(api('txt2img'), asked)).headers['retry-after']) > 0)
  })
})

suite('what belongs to a caller', () => {
  test('progress is that of its newest call, interrupt ends it, and idle is exactly 0', async (t) => {
    const reached = Promise.withResolvers<void>()
    const gate = Promise.withResolvers<void>()
    const server = await dialectServer(t, {
      onStep: async (step) => {
        if (step < 3) return
        reached.resolve()
        await gate.promise
      },
    })
    const { app, post, accepted } = server
    const progress = async () => (await app.inject(api('progress?skip_current_image=true'))).json()
    const idle = await progress()
    assert.deepEqual([idle.progress, idle.state.job_count, idle.eta_relative], [0, 0, 0])
    const answering = post(api('txt2img'), { ...asked, batch_size: 2 })
    await reached.promise
    await waitFor(async () => (await progress()).state.sampling_step === 2)
    const { state, progress: share } = await progress()
    assert.deepEqual(
      [state.job, state.job_count, state.job_no, state.sampling_steps],
      ['scripts_txt2img', 2, 0, 4],
    )
    assert.ok(Math.abs(share - 0.26) < 1e-9)
    const other = await app.inject({ url: api('progress'), remoteAddress: '192.0.2.1' })
    assert.equal(other.json().state.job_count, 0)
    await app.inject({ method: 'POST', url: api('interrupt'), remoteAddress: '192.0.2.1' })
    assert.equal((await progress()).state.job_count, 2)
    // no body at all, as SillyTavern sends it
    const stopped = await app.inject({ method: 'POST', url: api('interrupt') })
    assert.deepEqual([stopped.statusCode, stopped.json()], [200, {}])
    gate.resolve()
    const answer = await answering
    assert.deepEqual([answer.statusCode, answer.json().images], [200, []])
    assert.deepEqual(JSON.parse(answer.json().info).all_seeds, [])
    assert.equal((await app.inject(`/v1/jobs/${accepted[0]}`)).json().status, 'canceled')
    assert.equal((await progress()).progress, 0)
    const nothing = await app.inject({
      method: 'POST',
      url: api('skip'),
      headers: { 'content-type': 'application/json' },
    })
    assert.deepEqual(nothing.json(), {})
  })

  test('a waiting call is not idle; one that was left is forgotten when it ends', async (t) => {
    const { app, post, accepted } = await dialectServer(t, { works: false, holdSeconds: 1 })
    await post(api('txt2img'), asked)
    const waiting = (await app.inject(api('progress'))).json()
    assert.deepEqual([waiting.progress, waiting.state.job_count], [0, 1])
    await app.inject({ method: 'DELETE', url: `/v1/jobs/${accepted[0]}` })
    assert.equal((await app.inject(api('progress'))).json().state.job_count, 0)
  })

  test('the chosen model and settings hold for later calls of that caller only', async (t) => {
    const server = await dialectServer(t)
    const { app, post } = server
    const options = async (remoteAddress = '127.0.0.1') =>
      (await app.inject({ url: api('options'), remoteAddress })).json()
    const before = await options()
    assert.deepEqual(
      [before.sd_model_checkpoint, before.sd_vae, before.CLIP_stop_at_last_layers],
      ['stand-in', 'Automatic', 1],
    )
    // Open WebUI sends back all that it read
    const set = await post(api('options'), {
      ...before,
      sd_model_checkpoint: 'stand-in.safetensors [0123456789]',
      sd_vae: 'sharp-vae',
      CLIP_stop_at_last_layers: 2,
    })
    assert.deepEqual([set.statusCode, set.body], [200, 'null'])
    const { sd_model_checkpoint, sd_vae, CLIP_stop_at_last_layers } = await options()
    assert.deepEqual([sd_model_checkpoint, sd_vae, CLIP_stop_at_last_layers], ['stand-in', 'sharp-vae', 2])
    assert.equal((await options('192.0.2.1')).sd_vae, 'Automatic')
    await post(api('txt2img'), asked)
    const { vae, clip_skip } = await requestOf(server)
    assert.deepEqual([vae, clip_skip], ['sharp-vae', 2])
    await post(api('txt2img'), {
      ...asked,
      override_settings: { sd_vae: 'None', CLIP_stop_at_last_layers: 1 },
    })
    assert.equal((await requestOf(server)).vae, undefined)
    assertFault(await post(api('options'), { sd_model_checkpoint: 'other' }), 404, /stand-in/)
    assertFault(await post(api('options'), { CLIP_stop_at_last_layers: 0 }), 422, /CLIP_stop/)
    assert.equal((await options()).sd_vae, 'sharp-vae')
  })
})

suite('lists', () => {
  test('have what can be requested and nothing else, under the web UI`s names', async (t) => {
    const { app } = await dialectServer(t, { works: false })
    // an empty or half a credential is none
    const headers = { authorization: 'Basic ' }
    const get = async (name: string) => {
      const answer = await app.inject({ url: api(name), headers })
      assert.equal(answer.statusCode, 200, name)
      return answer.json()
    }
    const [model] = await get('sd-models')
    assert.deepEqual([model.title, model.model_name, model.name], ['stand-in', 'stand-in', 'stand-in'])
    assert.doesNotMatch(model.filename, /\//)
    const samplers = await get('samplers')
    assert.deepEqual(
      samplers.map(({ name }: { name: string }) => name),
      ['DPM++ 2M', 'DDIM'],
    )
    const schedulers = await get('schedulers')
    assert.deepEqual(
      schedulers.map(({ name, label }: { name: string; label: string }) => [name, label]),
      [
        ['automatic', 'Automatic'],
        ['karras', 'Karras'],
        ['normal', 'Normal'],
        ['leading', 'Leading'],
      ],
    )
    assert.deepEqual(
      (await get('loras')).map(({ name }: { name: string }) => name),
      ['detail', 'soft light'],
    )
    assert.deepEqual((await get('sd-vae'))[0].model_name, 'sharp-vae')
    assert.deepEqual(Object.keys((await get('embeddings')).loaded), ['EasyNegative'])
    assert.equal((await get('upscalers'))[0].name, 'None')
    for (const name of [
      'latent-upscale-modes',
      'prompt-styles',
      'script-info',
      'hypernetworks',
      'face-restorers',
      'realesrgan-models',
    ]) {
      assert.deepEqual(await get(name), [])
    }
    assert.deepEqual(await get('scripts'), { txt2img: [], img2img: [] })
    for (const name of ['cmd-flags', 'memory']) await get(name)
    for (const name of ['checkpoints', 'vae', 'loras', 'embeddings']) {
      const answer = await app.inject({
        method: 'POST',
        url: api(`refresh-${name}`),
        headers: { 'content-type': 'application/json' },
      })
      assert.deepEqual([answer.statusCode, answer.body], [200, 'null'])
    }
  })
})

suite('the settings in a file', () => {
  const text = 'a red apple, 苹果\nSteps: 4, Sampler: DPM++ 2M, Seed: 7'
  const raster = { rgb: new Uint8Array(8 * 8 * 3), width: 8, height: 8 }

  test('are read from PNG, JPEG and WebP', async (t) => {
    const { post } = await dialectServer(t, { works: false })
    const latin = 'an apple\nSteps: 4'
    const files: [Uint8Array, string][] = [
      [encodePng(raster, { parameters: text }), text],
      [encodePng(raster, { parameters: latin }), latin],
      [await encodeLossy(raster, { format: 'jpeg', quality: 90, parameters: text }), text],
      [await encodeLossy(raster, { format: 'webp', quality: 90, parameters: text }), text],
      [await pngFile(), ''],
    ]
    for (const [file, wanted] of files) {
      const image = `data:image/png;base64,${Buffer.from(file).toString('base64')}`
      const answer = await post(api('png-info'), { image })
      assert.equal(answer.json().info, wanted)
    }
    assertFault(await post(api('png-info'), {}), 422, /image must be a picture/)
  })

  test('a damaged file has none', async () => {
    const files = [
      encodePng(raster, { parameters: text }),
      await encodeLossy(raster, { format: 'jpeg', quality: 90, parameters: text }),
      await encodeLossy(raster, { format: 'webp', quality: 90, parameters: text }),
    ]
    for (const file of files) {
      for (let length = 0; length < file.length; length += 1) {
        infotextOf(Buffer.from(file.subarray(0, length)))
      }
      for (let at = 8; at < Math.min(file.length, 400); at += 1) {
        const broken = Buffer.from(file)
        broken[at] = 0xff
        infotextOf(broken)
      }
    }
  })
})
