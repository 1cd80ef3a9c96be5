import type { InjectOptions } from 'fastify'
import { ballPng } from '../browser/png.ts'
import type { Case } from './route-cases.ts'

/** The routes of other APIs, for the test of isolation. */

const json = (url: string, payload: object = {}, headers: Record<string, string> = {}): InjectOptions => ({
  method: 'POST',
  url,
  headers: { 'content-type': 'application/json', ...headers },
  payload: JSON.stringify(payload),
})
const input = { prompt: 'an apple' }
const any = (url: string): Case => ({ for: 'any', request: () => ({ url }) })
const form = (name: string, headers: Record<string, string> = {}): Omit<InjectOptions, 'url'> => {
  const part = `--x\r\ncontent-disposition: form-data; name="${name}"; filename="a.png"\r\ncontent-type: image/png\r\n\r\n`
  const more = `\r\n--x\r\ncontent-disposition: form-data; name="prompt"\r\n\r\nan apple\r\n--x--\r\n`
  return {
    method: 'POST',
    headers: { 'content-type': 'multipart/form-data; boundary=x', ...headers },
    payload: Buffer.concat([Buffer.from(part), ballPng(64, 64), Buffer.from(more)]),
  }
}
const submits = (url: string, body: object, headers: Record<string, string> = {}): Case => ({
  for: 'any',
  scope: 'jobs:write',
  request: () => json(url, body, headers),
})

const openai: Readonly<Record<string, Case>> = {
  'POST /v1/images/generations': submits('/v1/images/generations', input),
  'POST /v1/images/edits': {
    for: 'any',
    scope: 'uploads',
    request: () => ({ ...form('image'), url: '/v1/images/edits' }),
  },
  'GET /v1/models/:model': any('/v1/models/stand-in'),
}

const lists = [
  'cmd-flags',
  'embeddings',
  'face-restorers',
  'hypernetworks',
  'latent-upscale-modes',
  'loras',
  'memory',
  'options',
  'progress',
  'prompt-styles',
  'realesrgan-models',
  'samplers',
  'schedulers',
  'script-info',
  'scripts',
  'sd-models',
  'sd-vae',
  'upscalers',
]
const commands = [
  'interrupt',
  'options',
  'refresh-checkpoints',
  'refresh-embeddings',
  'refresh-loras',
  'refresh-vae',
  'skip',
]
const image = Buffer.from(ballPng(64, 64)).toString('base64')

const a1111: Readonly<Record<string, Case>> = {
  ...Object.fromEntries(lists.map((name) => [`GET /sdapi/v1/${name}`, any(`/sdapi/v1/${name}`)])),
  ...Object.fromEntries(
    commands.map((name): [string, Case] => [
      `POST /sdapi/v1/${name}`,
      { for: 'any', request: () => json(`/sdapi/v1/${name}`) },
    ]),
  ),
  'POST /sdapi/v1/png-info': { for: 'any', request: () => json('/sdapi/v1/png-info', { image }) },
  'POST /sdapi/v1/txt2img': submits('/sdapi/v1/txt2img', input),
  'POST /sdapi/v1/img2img': {
    for: 'any',
    scope: 'uploads',
    request: () => json('/sdapi/v1/img2img', { ...input, init_images: [image] }),
  },
}

const replicate: Readonly<Record<string, Case>> = {
  'POST /v1/predictions': submits('/v1/predictions', { version: 'stand-in', input }),
  'POST /v1/models/:owner/:name/predictions': submits('/v1/models/a/stand-in/predictions', { input }),
  'POST /v1/deployments/:owner/:name/predictions': submits('/v1/deployments/a/stand-in/predictions', {
    input,
  }),
  'GET /v1/predictions': { for: 'any', scope: 'jobs:read', request: () => ({ url: '/v1/predictions' }) },
  'GET /v1/predictions/:id': {
    for: 'own',
    scope: 'jobs:read',
    request: ({ job }) => ({ url: `/v1/predictions/${job}` }),
  },
  'POST /v1/predictions/:id/cancel': {
    for: 'own',
    scope: 'jobs:cancel',
    request: ({ job }) => json(`/v1/predictions/${job}/cancel`),
  },
  'GET /v1/streams/:grant': { for: 'open', request: ({ stream }) => ({ url: stream }) },
  'GET /v1/models/:owner/:name': any('/v1/models/packshot/stand-in'),
  'GET /v1/account': any('/v1/account'),
  'GET /v1/webhooks/default/secret': {
    for: 'any',
    scope: 'webhooks',
    request: () => ({ url: '/v1/webhooks/default/secret' }),
  },
  'POST /v1/files': {
    for: 'any',
    scope: 'uploads',
    request: () => ({ ...form('content'), url: '/v1/files' }),
  },
  'GET /v1/files/:id': {
    for: 'own',
    scope: 'uploads',
    request: ({ upload }) => ({ url: `/v1/files/${upload}` }),
  },
  'DELETE /v1/files/:id': {
    for: 'own',
    scope: 'uploads',
    request: ({ upload }) => ({ method: 'DELETE', url: `/v1/files/${upload}` }),
  },
}

const queue = '/fal/queue/packshot/stand-in'
const target = (path = '') => ({ 'x-fal-target-url': `https://queue.fal.run/packshot/stand-in${path}` })
const briefly = { 'x-fal-request-timeout': '0.01' }

const fal: Readonly<Record<string, Case>> = {
  'POST /fal/queue/*': submits(queue, input),
  'GET /fal/queue/*': {
    for: 'own',
    scope: 'jobs:read',
    request: ({ job }) => ({ url: `${queue}/requests/${job}` }),
  },
  'PUT /fal/queue/*': {
    for: 'own',
    scope: 'jobs:cancel',
    // the job is finished
    refused: true,
    request: ({ job }) => ({ method: 'PUT', url: `${queue}/requests/${job}/cancel` }),
  },
  'POST /fal/run/*': submits('/fal/run/packshot/stand-in', input, briefly),
  'POST /fal/rest/*': {
    for: 'any',
    scope: 'uploads',
    request: () => json('/fal/rest/storage/upload/initiate', { content_type: 'image/png' }),
  },
  'POST /fal/proxy': submits('/fal/proxy', input, target()),
  'GET /fal/proxy': {
    for: 'own',
    scope: 'jobs:read',
    request: ({ job }) => ({ url: '/fal/proxy', headers: target(`/requests/${job}/status`) }),
  },
  'PUT /fal/proxy': {
    for: 'own',
    scope: 'jobs:cancel',
    refused: true,
    request: ({ job }) => ({
      method: 'PUT',
      url: '/fal/proxy',
      headers: target(`/requests/${job}/cancel`),
    }),
  },
  'PUT /fal/uploads/:id': {
    for: 'open',
    request: ({ uploadAddress }) => ({
      method: 'PUT',
      url: uploadAddress,
      headers: { 'content-type': 'image/png' },
      payload: Buffer.from(ballPng(64, 64)),
    }),
  },
  'GET /fal/files/:id': {
    for: 'own',
    scope: 'uploads',
    request: ({ upload }) => ({ url: `/fal/files/${upload}` }),
  },
}

export const dialectCases: Readonly<Record<string, Case>> = {
  ...openai,
  ...a1111,
  ...replicate,
  ...fal,
  'POST /hf/models/*': submits('/hf/models/stand-in', { inputs: 'an apple' }),
}
