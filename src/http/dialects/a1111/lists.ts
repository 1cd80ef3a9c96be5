import type { FastifyInstance } from 'fastify'
import { namesFor } from '../../../jobs/offer.ts'
import type { Services } from '../../services.ts'
import { fieldsOf } from '../json-bodies.ts'
import { choose, settingsOf } from './settings.ts'

/** What clients read for their menus, in the web UI's names. Nothing is listed that cannot be requested. */
export function listRoutes(app: FastifyInstance, services: Services): void {
  const list = (name: string, answer: () => unknown) => {
    app.get(`/sdapi/v1/${name}`, async () => answer())
  }
  const noPath = (name: string) => `${name}.safetensors`

  list('sd-models', () =>
    services.offer().models.map(({ name }) => ({
      title: name,
      name,
      model_name: name,
      hash: null,
      sha256: null,
      filename: noPath(name),
      config: null,
    })),
  )
  app.get('/sdapi/v1/sd-vae', async ({ caller }) => {
    const { model } = await settingsOf(services, caller)
    return namesFor(model, services.offer().vaes).map((name) => ({
      model_name: name,
      filename: noPath(name),
    }))
  })
  app.get('/sdapi/v1/loras', async ({ caller }) => {
    const { model } = await settingsOf(services, caller)
    const fitting = namesFor(model, services.offer().loras)
    return fitting.map((name) => ({ name, alias: name, path: noPath(name), metadata: {} }))
  })
  app.get('/sdapi/v1/embeddings', async ({ caller }) => {
    const { model } = await settingsOf(services, caller)
    const entry = { step: null, sd_checkpoint: null, sd_checkpoint_name: null }
    const fitting = namesFor(model, services.offer().embeddings)
    return { loaded: Object.fromEntries(fitting.map((name) => [name, entry])), skipped: {} }
  })
  app.get('/sdapi/v1/samplers', async ({ caller }) => {
    const { model } = await settingsOf(services, caller)
    return services
      .offer()
      .samplers.of(model)
      .map(({ name, label, aliases }) => ({ name: label, aliases: [name, ...aliases], options: {} }))
  })
  app.get('/sdapi/v1/schedulers', async ({ caller }) => {
    const { model } = await settingsOf(services, caller)
    const offered = services.offer().samplers.of(model)
    const names = new Set(['automatic', ...offered.flatMap(({ schedules }) => schedules)])
    return [...names].map((name) => ({
      name,
      label: labelOf(name),
      aliases: null,
      default_rho: -1,
      need_inner_model: false,
    }))
  })
  list('upscalers', () => [{ name: 'None', model_name: null, model_path: null, model_url: null, scale: 1 }])
  for (const name of [
    'latent-upscale-modes',
    'prompt-styles',
    'script-info',
    'hypernetworks',
    'face-restorers',
    'realesrgan-models',
  ]) {
    list(name, () => [])
  }
  list('scripts', () => ({ txt2img: [], img2img: [] }))
  list('cmd-flags', () => ({ api: true }))
  list('memory', () => ({ ram: {}, cuda: {} }))

  app.get('/sdapi/v1/options', async ({ caller }) => {
    const { model, vae, clipSkip } = await settingsOf(services, caller)
    return {
      sd_model_checkpoint: model.name,
      sd_checkpoint_hash: null,
      sd_vae: vae ?? 'Automatic',
      CLIP_stop_at_last_layers: clipSkip,
      samples_format: 'png',
    }
  })
  app.post('/sdapi/v1/options', async ({ caller, body }, reply) => {
    await choose(services, caller, fieldsOf(body))
    return reply.type('application/json').send('null')
  })
  for (const name of ['refresh-checkpoints', 'refresh-vae', 'refresh-loras', 'refresh-embeddings']) {
    // files are found without being asked to
    app.post(`/sdapi/v1/${name}`, async (_request, reply) => reply.type('application/json').send('null'))
  }
}

/** `sgm_uniform` as "SGM Uniform". */
function labelOf(name: string): string {
  return name
    .split('_')
    .map((word) => (word === 'sgm' ? 'SGM' : word.charAt(0).toUpperCase() + word.slice(1)))
    .join(' ')
}
