import { isDeepStrictEqual } from 'node:util'
import type { FastifyInstance } from 'fastify'
import { imageFiles } from '../../jobs/fields.ts'
import { previewType } from '../../jobs/previews.ts'
import { JobView } from '../../jobs/serving/job-view.ts'
import { WebhookLog } from '../../jobs/webhook.ts'
import { eventStreamType } from '../event-stream.ts'
import { ErrorBody } from '../faults.ts'
import { examples } from './examples.ts'
import { UploadView } from './uploads.ts'

/**
 * The API's description of itself (OpenAPI 3.1): what the routes declare, completed for generators of clients. Shapes that
 * several calls share become components, every call gets an id, a tag, examples and the answers that any call can have,
 * and the address is the one that the client used.
 */

/** Shapes by their names in the description. */
const components: Record<string, unknown> = { Job: JobView, Upload: UploadView, Error: ErrorBody, WebhookLog }

type Json = Record<string, unknown>

interface Operation extends Json {
  operationId?: string
  tags?: string[]
  requestBody?: unknown
  responses: Record<string, Json>
}

const picture = Object.fromEntries(
  Object.values(imageFiles).map(({ type }) => [type, { schema: { type: 'string', format: 'binary' } }]),
)

const thumbnail = { [imageFiles.webp.type]: { schema: { type: 'string', format: 'binary' } } }

/** Bodies that are files. */
const files: Readonly<Record<string, Partial<Record<'request' | 'response', Json>>>> = {
  'post /v1/uploads': { request: picture },
  'get /v1/jobs/{id}/images/{index}': { response: picture },
  'get /v1/jobs/{id}/events': { response: { [eventStreamType]: { schema: { type: 'string' } } } },
  'get /v1/jobs/{id}/preview': {
    response: { [previewType]: { schema: { type: 'string', format: 'binary' } } },
  },
  'get /v1/pictures/{link}': { response: picture },
  'get /v1/jobs/{id}/images/{index}/thumbnail': { response: thumbnail },
  'get /v1/pictures/{link}/thumbnail': { response: thumbnail },
  'get /v1/catalogues/{id}/pictures.zip': {
    response: { 'application/zip': { schema: { type: 'string', format: 'binary' } } },
  },
  'get /v1/catalogues/{id}/manifest.csv': { response: { 'text/csv': { schema: { type: 'string' } } } },
  'get /v1/uploads/{id}': { response: { 'image/png': { schema: { type: 'string', format: 'binary' } } } },
}

/** Calls that need no key where the service has keys. */
const open = [
  '/healthz/live',
  '/healthz/ready',
  '/healthz/load',
  '/v1/pictures/{link}',
  '/v1/pictures/{link}/thumbnail',
]

const meanings: Readonly<Record<string, string>> = {
  200: 'The answer.',
  201: 'It was stored.',
  202: 'It was accepted.',
  204: 'It is gone.',
  '4XX': 'The request cannot be answered as it is; `error` says why.',
  '5XX': 'The service cannot answer it now, or failed; `Retry-After` says when to ask again.',
}

const fault = { content: { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } } }

/** GET /openapi.json. */
export function descriptionRoute(app: FastifyInstance): void {
  app.get('/openapi.json', { schema: { hide: true } }, (request) =>
    describe(app.swagger() as unknown as Json, request.publicAddress()),
  )
}

function describe(document: Json, server: string): Json {
  const named = Object.entries(components).map(([name, schema]) => [name, plain(schema)] as const)
  const paths = document.paths as Record<string, Record<string, Operation>>
  const described = Object.entries(paths).map(([path, operations]) => [
    path,
    Object.fromEntries(
      Object.entries(operations).map(([method, each]) => [method, complete(method, path, each)]),
    ),
  ])
  return {
    ...document,
    servers: [{ url: server }],
    security: [{ key: [] }, {}],
    components: {
      schemas: Object.fromEntries(
        named.map(([name, schema]) => [
          name,
          { ...schema, examples: examples[name] === undefined ? [] : [examples[name]] },
        ]),
      ),
      securitySchemes: {
        key: { type: 'http', scheme: 'bearer', description: 'Where the service has keys: `npm run keys`.' },
      },
    },
    paths: shared(Object.fromEntries(described), named),
  }
}

function complete(method: string, path: string, operation: Operation): Operation {
  const name = `${method} ${path}`
  const { request, response } = files[name] ?? {}
  const answers = { '4XX': fault, '5XX': fault, ...operation.responses }
  const responses = Object.entries(answers).map(([status, answer]) => {
    const content = status.startsWith('2') && response !== undefined ? response : answer.content
    return [
      status,
      {
        ...answer,
        ...(content !== undefined && { content }),
        description: meanings[status] ?? 'The answer.',
      },
    ]
  })
  return {
    ...operation,
    operationId: idOf(method, path),
    tags: [path.split('/').filter((part) => part !== 'v1')[1] ?? 'service'],
    ...(open.includes(path) && { security: [] }),
    ...(request !== undefined && { requestBody: { required: true, content: request } }),
    ...withExample(name, operation),
    responses: Object.fromEntries(responses),
  }
}

/** `getV1JobsById` for `get /v1/jobs/{id}`. */
function idOf(method: string, path: string): string {
  const words = path.split(/[/.]/).map((part) => part.replace(/^\{(\w+)\}$/, 'by-$1'))
  return [method, ...words]
    .flatMap((word) => word.split(/[-_]/))
    .filter((word) => word !== '')
    .map((word, index) => (index === 0 ? word : word.charAt(0).toUpperCase() + word.slice(1)))
    .join('')
}

function withExample(name: string, { requestBody }: Operation): Partial<Operation> {
  const example = examples[name]
  const content = (requestBody as { content?: Record<string, Json> } | undefined)?.content
  if (example === undefined || content === undefined) return {}
  const body = { ...content['application/json'], example }
  return { requestBody: { ...(requestBody as Json), content: { ...content, 'application/json': body } } }
}

/** The same with references in place of the shapes that have a name. */
function shared(value: unknown, named: readonly (readonly [name: string, schema: Json])[]): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map((each) => shared(each, named))
  for (const [name, schema] of named) {
    if (isDeepStrictEqual(value, schema)) return { $ref: `#/components/schemas/${name}` }
  }
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, shared(each, named)]))
}

/** As it is in JSON: without the marks of the schema library. */
function plain(schema: unknown): Json {
  return JSON.parse(JSON.stringify(schema))
}
