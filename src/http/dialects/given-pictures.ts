import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import type { FastifyRequest } from 'fastify'
import { AppError, type Fault } from '../../jobs/errors.ts'
import { invalidRequest, resolveRequest } from '../../jobs/request/resolve.ts'
import type { JobView } from '../../jobs/serving/job-view.ts'
import { describeValue } from '../../jobs/wording.ts'
import { traceOf } from '../api/jobs.ts'
import type { Services } from '../services.ts'
import { type GivenPicture, pictureFrom, pictureOf, store } from './pictures.ts'

/** Pictures to start from, as APIs have them that take addresses: of this service, or data: addresses. */

/** A field of ours that needs an upload, and what the client sent for it. */
interface Given {
  readonly field: 'init_image' | 'mask'
  /** The client's name of the field. */
  readonly param: string
  readonly value: unknown
}

export interface Wanted {
  /** A body of POST /v1/jobs, without its pictures. */
  readonly body: Readonly<Record<string, unknown>>
  readonly pictures: readonly Given[]
  /** Where its outcome is sent, in the format of this API. */
  readonly webhook?: { readonly url: string; readonly form: string }
}

type Source =
  | { readonly upload: string }
  | { readonly link: string; readonly param: string }
  | { readonly picture: GivenPicture }

/** Where this service has pictures: uploads by their ids, in the addresses of several APIs, and pictures by their links. */
const uploadPath = /^\/(?:v1\/uploads|v1\/files|fal\/files)\/([0-9a-z]{1,64})$/
const linkPath = /^\/v1\/pictures\/([\w-]{1,256})$/

/**
 * Accepts a request. Nothing is stored before the whole request is known to be valid: its pictures become uploads then.
 * Rejects like `Services.submit` and `Services.upload`; an address of another service is `invalid_request`, nothing is
 * fetched.
 */
export async function submitWithPictures(
  services: Services,
  request: FastifyRequest,
  { body, pictures, webhook }: Wanted,
): Promise<JobView> {
  const base = request.publicAddress()
  const sources = checked(services, base, { body, pictures })
  const uploads: Record<string, string> = {}
  for (const [field, source] of sources) uploads[field] = await uploadOf(services, request, source)
  const key = request.headers['idempotency-key']
  return services.submit(
    { ...body, ...uploads },
    {
      caller: request.caller,
      ...traceOf(request),
      ...(typeof key === 'string' ? { idempotencyKey: key } : {}),
      base,
      ...(webhook === undefined ? {} : { webhook: { ...webhook, base } }),
    },
  )
}

/** All faults at once, without storing anything. */
function checked(
  { limits, offer, uploadLimits }: Services,
  base: string,
  { body, pictures }: Pick<Wanted, 'body' | 'pictures'>,
): ReadonlyMap<string, Source> {
  const faults: Fault[] = []
  const sources = new Map<string, Source>()
  for (const { field, param, value } of pictures) {
    try {
      sources.set(field, sourceOf(value, param, base) ?? { picture: pictureFrom(value, param, uploadLimits) })
    } catch (thrown) {
      if (!(thrown instanceof AppError) || thrown.code !== 'invalid_request') throw thrown
      faults.push({ param, message: thrown.message })
    }
  }
  try {
    const stand = Object.fromEntries(pictures.map(({ field }) => [field, 'to be stored']))
    resolveRequest({ ...body, ...stand }, offer(), limits)
  } catch (thrown) {
    if (!(thrown instanceof AppError) || thrown.faults.length === 0) throw thrown
    faults.push(...thrown.faults)
  }
  if (faults.length > 0) throw invalidRequest(faults)
  return sources
}

/** Undefined for what may be a picture itself. */
function sourceOf(value: unknown, param: string, base: string): Source | undefined {
  if (typeof value !== 'string' || !/^(https?:)?\/\//i.test(value)) return undefined
  const path = value.startsWith(`${base}/`) ? value.slice(base.length).split(/[?#]/, 1)[0] : undefined
  const [, upload] = uploadPath.exec(path ?? '') ?? []
  if (upload !== undefined) return { upload }
  const [, link] = linkPath.exec(path ?? '') ?? []
  if (link !== undefined) return { link, param }
  const message = `${param} must be a data: address, or an address of a picture or file of this service (${base}), but was ${describeValue(value)}; other addresses are not fetched.`
  throw new AppError('invalid_request', message, { param })
}

async function uploadOf(services: Services, { caller }: FastifyRequest, source: Source): Promise<string> {
  if ('upload' in source) return source.upload
  if ('picture' in source) return store(services, caller, source.picture)
  const { link, param } = source
  const { open } = await services.linkedFile(link)
  const { body } = await open()
  const bytes = body instanceof Readable ? await buffer(body) : Buffer.from(body)
  return store(services, caller, pictureOf(bytes, param, services.uploadLimits))
}
