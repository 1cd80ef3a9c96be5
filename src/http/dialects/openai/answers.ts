import type { FastifyRequest } from 'fastify'
import { type AppError, clientMessage } from '../../../jobs/errors.ts'
import type { JobView } from '../../../jobs/serving/job-view.ts'
import type { Services } from '../../services.ts'
import { bytesOf } from '../pictures.ts'
import type { ImageCall } from './request.ts'

/** Bodies and events as the client library reads them. */

/** Pictures are not counted in tokens here; programs expect the numbers to be there. */
const noUsage = {
  total_tokens: 0,
  input_tokens: 0,
  output_tokens: 0,
  input_tokens_details: { text_tokens: 0, image_tokens: 0 },
}

/** What was made, as the answer repeats it. */
function made(view: JobView) {
  const { request } = view
  return {
    background: 'opaque',
    quality: 'auto',
    ...(request === undefined
      ? {}
      : { output_format: request.format, size: `${request.width}x${request.height}` }),
  }
}

function seconds(time: string): number {
  return Math.floor(Date.parse(time) / 1000)
}

/** The answer to a call whose jobs all succeeded. */
export async function imagesOf(
  services: Services,
  request: FastifyRequest,
  views: readonly JobView[],
  { urls }: ImageCall,
): Promise<object> {
  const data: object[] = []
  for (const view of views) {
    for (const [index, { link }] of view.images.entries()) {
      const picture = async () => (await bytesOf(services, view, index, request.caller)).toString('base64')
      data.push(urls ? { url: `${request.publicAddress()}${link}` } : { b64_json: await picture() })
    }
  }
  const [first] = views
  return {
    created: seconds(first?.created_at ?? ''),
    ...(first === undefined ? {} : made(first)),
    data,
    usage: noUsage,
  }
}

export type StreamName = 'image_generation' | 'image_edit'

/** A preview is a small JPEG, whatever was asked for. `index` counts from 0. */
export function partialOf(name: StreamName, view: JobView, preview: Uint8Array, index: number): object {
  return {
    type: `${name}.partial_image`,
    b64_json: Buffer.from(preview).toString('base64'),
    partial_image_index: index,
    created_at: seconds(view.created_at),
    ...made(view),
    output_format: 'jpeg',
  }
}

export function completedOf(name: StreamName, view: JobView, picture: Uint8Array): object {
  return {
    type: `${name}.completed`,
    b64_json: Buffer.from(picture).toString('base64'),
    created_at: seconds(view.created_at),
    ...made(view),
    usage: noUsage,
  }
}

const types: Readonly<Record<number, string>> = {
  401: 'authentication_error',
  403: 'permission_error',
  429: 'rate_limit_error',
}

/** The body of an error, which is also an event of a stream. */
export function errorOf(error: AppError, status: number): object {
  const type = types[status] ?? (status >= 500 ? 'server_error' : 'invalid_request_error')
  const { param } = error
  const unknownModel = error.code === 'invalid_request' && param === 'model'
  const code = unknownModel ? 'model_not_found' : error.code
  return { error: { message: clientMessage(error), type, param: param ?? null, code } }
}
