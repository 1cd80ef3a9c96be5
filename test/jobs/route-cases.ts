import type { InjectOptions } from 'fastify'
import type { Scope } from '../../src/jobs/caller.ts'
import { ballPng } from '../browser/png.ts'

/**
 * What each route is asked in the tests of callers, and who may ask it.
 *
 * Longer than most files: one entry for each route of the service.
 */

export interface Things {
  readonly job: string
  readonly link: string
  readonly upload: string
  /** A picture that is kept for good. */
  readonly kept: string
  /** A catalogue run. */
  readonly run: string
  readonly asset: string
  /** The path at which anybody may follow the job. */
  readonly stream: string
}

export interface RouteCase {
  /** `open`: needs no key. `any`: every caller has it. `own`: it is about something of one caller. */
  readonly for: 'open' | 'any' | 'own'
  readonly scope?: Scope
  /** What a caller with a key is answered, where that is no success. */
  readonly says?: number
  readonly request: (things: Things) => InjectOptions
}

export const json = (url: string, body: object = { prompt: 'an apple' }): InjectOptions => ({
  method: 'POST',
  url,
  headers: { 'content-type': 'application/json' },
  payload: JSON.stringify(body),
})
const form = (url: string, payload = ''): InjectOptions => ({
  method: 'POST',
  url,
  headers: { 'content-type': 'application/x-www-form-urlencoded' },
  payload,
})
const png = Buffer.from(ballPng(64, 64))
export const picture: InjectOptions = {
  method: 'POST',
  url: '/v1/uploads',
  headers: { 'content-type': 'image/png' },
  payload: png,
}
const boundary = 'a-boundary'
const multipart = (url: string, field: string): InjectOptions => ({
  method: 'POST',
  url,
  headers: { 'content-type': `multipart/form-data; boundary=${boundary}` },
  payload: Buffer.concat([
    Buffer.from(
      `--${boundary}\r\ncontent-disposition: form-data; name="prompt"\r\n\r\nan apple\r\n--${boundary}\r\n` +
        `content-disposition: form-data; name="${field}"; filename="a.png"\r\ncontent-type: image/png\r\n\r\n`,
    ),
    png,
    Buffer.from(`\r\n--${boundary}--\r\n`),
  ]),
})
/** Through the address that is told fal's own. */
const proxied = (method: 'GET' | 'POST' | 'PUT', path: string): InjectOptions => ({
  ...(method === 'POST' ? json('/fal/proxy') : { url: '/fal/proxy' }),
  method,
  headers: {
    'x-fal-target-url': `https://queue.fal.run/${path}`,
    ...(method === 'POST' ? { 'content-type': 'application/json' } : {}),
  },
})
const prediction = (url: string) => json(url, { model: 'packshot/stand-in', input: { prompt: 'an apple' } })

const ofRun = (method: 'GET' | 'POST' | 'DELETE', path: string): Record<string, RouteCase> => ({
  [`${method} ${path}`]: {
    for: 'own',
    scope: 'catalogues',
    request: ({ run }) => {
      const url = path.replace(':id', run)
      return method === 'POST' && !url.startsWith('/v1') ? form(url) : { method, url }
    },
  },
})

export const routeCases: Readonly<Record<string, RouteCase>> = {
  'POST /v1/jobs': { for: 'any', scope: 'jobs:write', request: () => json('/v1/jobs') },
  'GET /v1/jobs/:id': { for: 'own', scope: 'jobs:read', request: ({ job }) => ({ url: `/v1/jobs/${job}` }) },
  'POST /v1/jobs/:id/cancel': {
    for: 'own',
    scope: 'jobs:cancel',
    request: ({ job }) => ({ method: 'POST', url: `/v1/jobs/${job}/cancel` }),
  },
  'POST /v1/jobs/:id/finish': {
    for: 'own',
    scope: 'jobs:write',
    request: ({ job }) => json(`/v1/jobs/${job}/finish`, { finish: {} }),
  },
  'DELETE /v1/jobs/:id': {
    for: 'own',
    scope: 'jobs:cancel',
    request: ({ job }) => ({ method: 'DELETE', url: `/v1/jobs/${job}` }),
  },
  'GET /v1/jobs/:id/images/:index': {
    for: 'own',
    scope: 'jobs:read',
    request: ({ job }) => ({ url: `/v1/jobs/${job}/images/0` }),
  },
  'GET /v1/jobs/:id/images/:index/original': {
    for: 'own',
    scope: 'jobs:read',
    says: 404,
    request: ({ job }) => ({ url: `/v1/jobs/${job}/images/0/original` }),
  },
  'GET /v1/jobs/:id/images/:index/thumbnail': {
    for: 'own',
    scope: 'jobs:read',
    request: ({ job }) => ({ url: `/v1/jobs/${job}/images/0/thumbnail` }),
  },
  'POST /v1/jobs/:id/images/:index/keep': {
    for: 'own',
    scope: 'jobs:write',
    request: ({ job }) => ({ method: 'POST', url: `/v1/jobs/${job}/images/0/keep` }),
  },
  'GET /v1/kept': { for: 'any', scope: 'jobs:read', request: () => ({ url: '/v1/kept' }) },
  'GET /v1/kept/:id': {
    for: 'own',
    scope: 'jobs:read',
    request: ({ kept }) => ({ url: `/v1/kept/${kept}` }),
  },
  'GET /v1/kept/:id/image': {
    for: 'own',
    scope: 'jobs:read',
    request: ({ kept }) => ({ url: `/v1/kept/${kept}/image` }),
  },
  'GET /v1/kept/:id/thumbnail': {
    for: 'own',
    scope: 'jobs:read',
    request: ({ kept }) => ({ url: `/v1/kept/${kept}/thumbnail` }),
  },
  'DELETE /v1/kept/:id': {
    for: 'own',
    scope: 'jobs:cancel',
    request: ({ kept }) => ({ method: 'DELETE', url: `/v1/kept/${kept}` }),
  },
  'GET /v1/pictures/:link': { for: 'open', request: ({ link }) => ({ url: link }) },
  'GET /v1/pictures/:link/thumbnail': { for: 'open', request: ({ link }) => ({ url: `${link}/thumbnail` }) },
  'GET /v1/models': { for: 'any', request: () => ({ url: '/v1/models' }) },
  'GET /v1/finishes': { for: 'any', request: () => ({ url: '/v1/finishes' }) },
  'GET /v1/samplers': { for: 'any', request: () => ({ url: '/v1/samplers' }) },
  'POST /v1/uploads': { for: 'any', scope: 'uploads', request: () => picture },
  'GET /v1/uploads/:id': {
    for: 'own',
    scope: 'uploads',
    request: ({ upload }) => ({ url: `/v1/uploads/${upload}` }),
  },
  'DELETE /v1/uploads/:id': {
    for: 'own',
    scope: 'uploads',
    request: ({ upload }) => ({ method: 'DELETE', url: `/v1/uploads/${upload}` }),
  },
  'GET /healthz/live': { for: 'open', request: () => ({ url: '/healthz/live' }) },
  'GET /healthz/load': { for: 'open', request: () => ({ url: '/healthz/load' }) },
  'GET /healthz/ready': { for: 'open', request: () => ({ url: '/healthz/ready' }) },
  'GET /openapi.json': { for: 'any', request: () => ({ url: '/openapi.json' }) },
  'GET /assets/:version/:name': { for: 'open', request: ({ asset }) => ({ url: asset }) },
  'GET /sign-in': { for: 'open', request: () => ({ url: '/sign-in' }) },
  'POST /sign-in': { for: 'open', request: () => form('/sign-in', 'key=nothing') },
  'POST /sign-out': { for: 'open', request: () => form('/sign-out') },
  'GET /': { for: 'any', request: () => ({ url: '/' }) },
  'POST /photo': { for: 'any', scope: 'uploads', request: () => multipart('/photo', 'photo_file') },
  'POST /form': { for: 'any', request: () => form('/form') },
  'POST /jobs': { for: 'any', scope: 'jobs:write', request: () => form('/jobs', 'prompt=an+apple&seed=1') },
  'GET /jobs/:id': { for: 'own', scope: 'jobs:read', request: ({ job }) => ({ url: `/jobs/${job}` }) },
  'GET /jobs/:id/card': {
    for: 'own',
    scope: 'jobs:read',
    request: ({ job }) => ({ url: `/jobs/${job}/card` }),
  },
  'POST /jobs/:id/cancel': {
    for: 'own',
    scope: 'jobs:cancel',
    request: ({ job }) => form(`/jobs/${job}/cancel`),
  },
  'GET /workspace/device': { for: 'any', request: () => ({ url: '/workspace/device' }) },
  // a caller with a key has the workspace of the key
  'GET /workspace/open/:token': { for: 'any', says: 410, request: () => ({ url: '/workspace/open/none' }) },
  'POST /workspace/open/:token': { for: 'any', says: 410, request: () => form('/workspace/open/none') },
  'GET /workspace/jobs': { for: 'any', request: () => ({ url: '/workspace/jobs' }) },
  'POST /jobs/:id/finish': {
    for: 'own',
    scope: 'jobs:write',
    request: ({ job }) => form(`/jobs/${job}/finish`, 'index=0'),
  },
  'POST /jobs/:id/vary': {
    for: 'own',
    scope: 'jobs:read',
    // the stand-in's pictures are none
    says: 422,
    request: ({ job }) => form(`/jobs/${job}/vary`, 'index=0'),
  },
  'POST /jobs/:id/photo': {
    for: 'own',
    scope: 'jobs:read',
    // the stand-in's pictures are none
    says: 422,
    request: ({ job }) => form(`/jobs/${job}/photo`, 'index=0'),
  },
  'POST /jobs/:id/delete': {
    for: 'own',
    scope: 'jobs:cancel',
    request: ({ job }) => form(`/jobs/${job}/delete`, 'sure=1'),
  },
  'GET /pictures': { for: 'any', request: () => ({ url: '/pictures' }) },
  // nobody's list has a job of the API
  'POST /pictures/like': {
    for: 'any',
    says: 404,
    request: ({ job }) => form('/pictures/like', `like=${job}.0`),
  },
  'POST /pictures/forget': { for: 'any', request: ({ job }) => form('/pictures/forget', `forget=${job}`) },
  'POST /pictures/zip': {
    for: 'any',
    scope: 'jobs:read',
    request: ({ job }) => form('/pictures/zip', `picture:${job}.0=1`),
  },
  'POST /pictures/keep': {
    for: 'any',
    scope: 'jobs:write',
    request: ({ job }) => form('/pictures/keep', `picture:${job}.0=1`),
  },
  'GET /pictures/kept': { for: 'any', scope: 'jobs:read', request: () => ({ url: '/pictures/kept' }) },
  'POST /pictures/kept/zip': {
    for: 'any',
    scope: 'jobs:read',
    request: ({ kept }) => form('/pictures/kept/zip', `kept:${kept}=1`),
  },
  'POST /pictures/kept/delete': {
    for: 'own',
    scope: 'jobs:read',
    // it was deleted by the API before
    says: 404,
    request: ({ kept }) => form('/pictures/kept/delete', `kept:${kept}=1`),
  },
  'POST /pictures/delete': {
    for: 'any',
    says: 404,
    request: ({ job }) => form('/pictures/delete', `picture:${job}.0=1&sure=1`),
  },
  'POST /pictures/settings': {
    for: 'any',
    says: 422,
    request: () => multipart('/pictures/settings', 'picture'),
  },
  'GET /models': { for: 'any', request: () => ({ url: '/models' }) },
  'POST /looks': { for: 'any', request: () => form('/looks', 'look_name=soft&prompt=a+pear') },
  'POST /looks/remove': { for: 'any', request: () => form('/looks/remove', 'look_name=soft') },
  'GET /workspace/busy': { for: 'any', request: () => ({ url: '/workspace/busy' }) },
  'POST /workspace/clear': { for: 'any', request: () => form('/workspace/clear') },
  'POST /workspace/restore': { for: 'any', request: () => form('/workspace/restore') },
  'POST /workspace/remove': { for: 'any', request: ({ job }) => form('/workspace/remove', `job=${job}`) },

  'GET /v1/catalogues': { for: 'any', scope: 'catalogues', request: () => ({ url: '/v1/catalogues' }) },
  'POST /v1/catalogues': {
    for: 'any',
    scope: 'catalogues',
    request: () => json('/v1/catalogues', { csv: 'prompt\nan apple' }),
  },
  ...ofRun('GET', '/v1/catalogues/:id'),
  ...ofRun('GET', '/v1/catalogues/:id/rows'),
  ...ofRun('GET', '/v1/catalogues/:id/pictures.zip'),
  ...ofRun('GET', '/v1/catalogues/:id/manifest.csv'),
  ...ofRun('POST', '/v1/catalogues/:id/pause'),
  ...ofRun('POST', '/v1/catalogues/:id/resume'),
  ...ofRun('POST', '/v1/catalogues/:id/retry'),
  'GET /catalogues': { for: 'any', scope: 'catalogues', request: () => ({ url: '/catalogues' }) },
  'POST /catalogues': {
    for: 'any',
    scope: 'catalogues',
    request: () => form('/catalogues', 'list=prompt%0Aan+apple'),
  },
  ...ofRun('GET', '/catalogues/:id'),
  ...ofRun('GET', '/catalogues/:id/state'),
  ...ofRun('GET', '/catalogues/:id/lines'),
  ...ofRun('POST', '/catalogues/:id/pause'),
  ...ofRun('POST', '/catalogues/:id/resume'),
  ...ofRun('POST', '/catalogues/:id/retry'),
  ...ofRun('POST', '/v1/catalogues/:id/cancel'),
  ...ofRun('POST', '/catalogues/:id/cancel'),
  ...ofRun('DELETE', '/v1/catalogues/:id'),

  'GET /v1/jobs': { for: 'any', scope: 'jobs:read', request: () => ({ url: '/v1/jobs' }) },
  'GET /v1/jobs/:id/events': {
    for: 'own',
    scope: 'jobs:read',
    request: ({ job }) => ({ url: `/v1/jobs/${job}/events` }),
  },
  'GET /v1/jobs/:id/preview': {
    for: 'own',
    scope: 'jobs:read',
    says: 404,
    request: ({ job }) => ({ url: `/v1/jobs/${job}/preview` }),
  },

  'GET /v1/jobs/:id/webhooks': {
    for: 'own',
    scope: 'webhooks',
    says: 404,
    request: ({ job }) => ({ url: `/v1/jobs/${job}/webhooks` }),
  },
  'POST /v1/jobs/:id/webhooks/resend': {
    for: 'own',
    scope: 'webhooks',
    says: 400,
    request: ({ job }) => ({ method: 'POST', url: `/v1/jobs/${job}/webhooks/resend` }),
  },
  'GET /v1/webhooks/secret': {
    for: 'any',
    scope: 'webhooks',
    request: () => ({ url: '/v1/webhooks/secret' }),
  },

  // OpenAI
  'GET /v1/models/:model': { for: 'any', request: () => ({ url: '/v1/models/stand-in' }) },
  'POST /v1/images/generations': {
    for: 'any',
    scope: 'jobs:write',
    request: () => json('/v1/images/generations'),
  },
  'POST /v1/images/edits': {
    for: 'any',
    scope: 'uploads',
    request: () => multipart('/v1/images/edits', 'image'),
  },

  // Hugging Face
  'POST /hf/models/*': {
    for: 'any',
    scope: 'jobs:write',
    request: () => json('/hf/models/stand-in', { inputs: 'an apple' }),
  },

  // Replicate
  'GET /v1/account': { for: 'any', request: () => ({ url: '/v1/account' }) },
  'GET /v1/webhooks/default/secret': {
    for: 'any',
    scope: 'webhooks',
    request: () => ({ url: '/v1/webhooks/default/secret' }),
  },
  'GET /v1/models/:owner/:name': { for: 'any', request: () => ({ url: '/v1/models/packshot/stand-in' }) },
  'GET /v1/predictions': { for: 'any', scope: 'jobs:read', request: () => ({ url: '/v1/predictions' }) },
  'POST /v1/predictions': { for: 'any', scope: 'jobs:write', request: () => prediction('/v1/predictions') },
  'POST /v1/models/:owner/:name/predictions': {
    for: 'any',
    scope: 'jobs:write',
    request: () => prediction('/v1/models/packshot/stand-in/predictions'),
  },
  'POST /v1/deployments/:owner/:name/predictions': {
    for: 'any',
    scope: 'jobs:write',
    request: () => prediction('/v1/deployments/packshot/stand-in/predictions'),
  },
  'GET /v1/predictions/:id': {
    for: 'own',
    scope: 'jobs:read',
    request: ({ job }) => ({ url: `/v1/predictions/${job}` }),
  },
  'POST /v1/predictions/:id/cancel': {
    for: 'own',
    scope: 'jobs:cancel',
    request: ({ job }) => ({ method: 'POST', url: `/v1/predictions/${job}/cancel` }),
  },
  'GET /v1/streams/:grant': { for: 'open', request: ({ stream }) => ({ url: stream }) },
  'POST /v1/files': { for: 'any', scope: 'uploads', request: () => multipart('/v1/files', 'content') },
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

  // fal
  'GET /fal/queue/*': {
    for: 'own',
    scope: 'jobs:read',
    request: ({ job }) => ({ url: `/fal/queue/packshot/stand-in/requests/${job}` }),
  },
  'POST /fal/queue/*': {
    for: 'any',
    scope: 'jobs:write',
    request: () => json('/fal/queue/packshot/stand-in'),
  },
  'PUT /fal/queue/*': {
    for: 'own',
    scope: 'jobs:cancel',
    says: 400,
    request: ({ job }) => ({ method: 'PUT', url: `/fal/queue/packshot/stand-in/requests/${job}/cancel` }),
  },
  'POST /fal/run/*': { for: 'any', scope: 'jobs:write', request: () => json('/fal/run/packshot/stand-in') },
  'POST /fal/rest/*': {
    for: 'any',
    scope: 'uploads',
    request: () => json('/fal/rest/storage/upload/initiate', { content_type: 'image/png' }),
  },
  'GET /fal/proxy': {
    for: 'own',
    scope: 'jobs:read',
    request: ({ job }) => proxied('GET', `packshot/stand-in/requests/${job}/status`),
  },
  'POST /fal/proxy': { for: 'any', scope: 'jobs:write', request: () => proxied('POST', 'packshot/stand-in') },
  'PUT /fal/proxy': {
    for: 'own',
    scope: 'jobs:cancel',
    says: 400,
    request: ({ job }) => proxied('PUT', `packshot/stand-in/requests/${job}/cancel`),
  },
  'PUT /fal/uploads/:id': {
    for: 'open',
    says: 404,
    request: ({ upload }) => ({ ...picture, method: 'PUT', url: `/fal/uploads/${upload}?grant=none` }),
  },
  'GET /fal/files/:id': {
    for: 'own',
    scope: 'uploads',
    request: ({ upload }) => ({ url: `/fal/files/${upload}` }),
  },

  // AUTOMATIC1111
  'POST /sdapi/v1/txt2img': { for: 'any', scope: 'jobs:write', request: () => json('/sdapi/v1/txt2img') },
  'POST /sdapi/v1/img2img': {
    for: 'any',
    scope: 'uploads',
    request: () => json('/sdapi/v1/img2img', { prompt: 'an apple', init_images: [png.toString('base64')] }),
  },
  'POST /sdapi/v1/png-info': {
    for: 'any',
    request: () => json('/sdapi/v1/png-info', { image: png.toString('base64') }),
  },
  ...Object.fromEntries(
    [
      ...['cmd-flags', 'embeddings', 'face-restorers', 'hypernetworks', 'latent-upscale-modes', 'loras'],
      ...['memory', 'options', 'progress', 'prompt-styles', 'realesrgan-models', 'samplers', 'schedulers'],
      ...['script-info', 'scripts', 'sd-models', 'sd-vae', 'upscalers'],
    ].map((name): [string, RouteCase] => [
      `GET /sdapi/v1/${name}`,
      { for: 'any', request: () => ({ url: `/sdapi/v1/${name}` }) },
    ]),
  ),
  ...Object.fromEntries(
    [
      ...['interrupt', 'options', 'skip'],
      ...['refresh-checkpoints', 'refresh-embeddings', 'refresh-loras', 'refresh-vae'],
    ].map((name): [string, RouteCase] => [
      `POST /sdapi/v1/${name}`,
      { for: 'any', request: () => json(`/sdapi/v1/${name}`, {}) },
    ]),
  ),
}
