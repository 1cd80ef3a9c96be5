import { Readable } from 'node:stream'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { type Catalogues, type ControlName, controlNames } from '../../jobs/catalogue/catalogues.ts'
import { mostVariants } from '../../jobs/catalogue/check.ts'
import { setLimits } from '../../jobs/catalogue/sets.ts'
import { CatalogueView, ItemPage } from '../../jobs/catalogue/view.ts'
import { AppError } from '../../jobs/errors.ts'
import { isUnchanged, weakTag } from '../etag.ts'
import { ErrorBody } from '../faults.ts'

type ById = { Params: { id: string } }
const byId = Type.Object({ id: Type.String() })
const faults = { '4xx': ErrorBody, '5xx': ErrorBody }

const body = Type.Object({
  csv: Type.Optional(
    Type.String({
      description:
        'The list as CSV (RFC 4180; commas, semicolons or tabs), whose first line names the columns. Or `rows`, or `jsonl`.',
    }),
  ),
  rows: Type.Optional(Type.Array(Type.Record(Type.String(), Type.Unknown()))),
  jsonl: Type.Optional(Type.String({ description: 'An object in each line.' })),
  template: Type.Optional(
    Type.Record(Type.String(), Type.Unknown(), {
      description:
        'Fields of a job, with `{column}` in their texts; `{{` and `}}` are braces, `{row}` and `{variant}` numbers. Absent: `{"prompt": "{prompt}"}`.',
    }),
  ),
  sets: Type.Optional(
    Type.Array(
      Type.Object({
        name: Type.String({ description: '`{set}` in texts and file names.' }),
        template: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
      }),
      {
        description: `Each row is made in each of these, at most ${setLimits.most}: their fields are laid over those of the template.`,
      },
    ),
  ),
  variants: Type.Optional(
    Type.Integer({ minimum: 1, maximum: mostVariants, description: 'Pictures of each row. Absent: 1.' }),
  ),
  name: Type.Optional(
    Type.String({
      description: 'File names without their ending, such as `{sku}-{variant}`. Absent: `{row}`.',
    }),
  ),
  webhook: Type.Optional(Type.String({ description: 'Address that is told of the end of the run.' })),
})

const meanings: Record<ControlName, { summary: string; description: string }> = {
  pause: { summary: 'Pause a run', description: 'Pictures whose jobs were submitted are still made.' },
  resume: {
    summary: 'Resume a run that was paused',
    description: 'Has no effect on a run that runs or has ended.',
  },
  cancel: { summary: 'Cancel a run', description: 'Pictures that are there stay.' },
  retry: {
    summary: 'Retry what failed',
    description: 'Makes again what failed, or was canceled with the run. What is there stays.',
  },
}

/** Everything below /v1/catalogues. */
export function catalogueRoutes(app: FastifyInstance, catalogues: Catalogues | undefined): void {
  if (catalogues === undefined) return

  const create = {
    summary: 'Request pictures for a list of products',
    description: 'The whole list is checked first: if anything is wrong in any row, nothing is accepted.',
    headers: Type.Object({ 'idempotency-key': Type.Optional(Type.String()) }),
    body,
    response: { 202: CatalogueView, ...faults },
  }
  const { bodyBytes: bodyLimit } = catalogues
  const checkLength = async ({ headers }: FastifyRequest) => {
    if (!(Number(headers['content-length']) > bodyLimit)) return
    const message = `The body must have at most ${bodyLimit} bytes, but has ${headers['content-length']}.`
    throw new AppError('body_too_large', message, { param: 'body' })
  }
  app.post(
    '/v1/catalogues',
    { schema: create, bodyLimit, onRequest: checkLength },
    async (request, reply) => {
      const key = request.headers['idempotency-key']
      const view = await catalogues.create(request.body, {
        caller: request.caller,
        base: request.publicAddress(),
        ...(typeof key === 'string' ? { idempotencyKey: key } : {}),
      })
      reply.header('location', view.links.self)
      return setWaitHeaders(reply, view).code(202).send(view)
    },
  )

  const list = {
    summary: 'The runs of a caller, the newest first',
    description: 'Empty for callers without a key, who cannot be told apart.',
    response: { 200: Type.Object({ catalogues: Type.Array(CatalogueView) }), ...faults },
  }
  app.get('/v1/catalogues', { schema: list }, async (request, reply) => {
    reply.header('cache-control', 'no-store')
    return { catalogues: await catalogues.list(request.caller) }
  })

  const read = { summary: 'The state of a run', params: byId, response: { 200: CatalogueView, ...faults } }
  app.get<ById>('/v1/catalogues/:id', { schema: read }, async (request, reply) => {
    const view = await catalogues.view(request.params.id, request.caller)
    const { eta_seconds: _eta, poll_after_ms: _poll, ...content } = view
    const tag = weakTag(content)
    setWaitHeaders(reply, view).header('etag', tag)
    return isUnchanged(request, tag) ? reply.code(304).send() : view
  })

  const items = {
    summary: 'The pictures of a run, in pages',
    params: byId,
    querystring: Type.Object({
      status: Type.Optional(Type.String()),
      cursor: Type.Optional(Type.String()),
      limit: Type.Optional(Type.Integer({ description: 'At most 200. Absent: 50.' })),
    }),
    response: { 200: ItemPage, ...faults },
  }
  app.get<ById>('/v1/catalogues/:id/rows', { schema: items }, async (request, reply) => {
    reply.header('cache-control', 'no-store')
    return catalogues.items(request.params.id, request.caller, request.query as Record<string, unknown>)
  })

  for (const name of controlNames) {
    const schema = { ...read, ...meanings[name] }
    app.post<ById>(`/v1/catalogues/:id/${name}`, { schema }, async (request, reply) => {
      const view = await catalogues.control(request.params.id, request.caller, name)
      return setWaitHeaders(reply, view).send(view)
    })
  }

  const remove = {
    summary: 'Delete a run with its pictures',
    description: 'They are gone for clients at once; later requests for the run are answered 410.',
    params: byId,
    response: { 204: Type.Null(), ...faults },
  }
  app.delete<ById>('/v1/catalogues/:id', { schema: remove }, async (request, reply) => {
    await catalogues.remove(request.params.id, request.caller)
    return reply.code(204).send()
  })

  const zip = {
    summary: 'The pictures of a run as a ZIP file',
    description: 'Those that are there, as files of their own names, and manifest.csv.',
    params: byId,
    produces: ['application/zip'],
  }
  app.get<ById>('/v1/catalogues/:id/pictures.zip', { schema: zip }, async (request, reply) => {
    const { id } = request.params
    const { created_at } = await catalogues.view(id, request.caller)
    attach(reply, `pictures-${created_at.slice(0, 10)}.zip`, 'application/zip')
    if (request.method === 'HEAD') return reply.send(Readable.from([]))
    const stream = await catalogues.zip(id, request.caller, request.publicAddress())
    return reply.send(stream)
  })

  const manifest = {
    summary: 'File names, seeds, links and hashes of a run, as CSV',
    params: byId,
    produces: ['text/csv'],
  }
  app.get<ById>('/v1/catalogues/:id/manifest.csv', { schema: manifest }, async (request, reply) => {
    const lines = await catalogues.manifest(request.params.id, request.caller, request.publicAddress())
    attach(reply, 'manifest.csv', 'text/csv; charset=utf-8')
    if (request.method === 'HEAD') return reply.send(Readable.from([]))
    return reply.send(Readable.from(lines))
  })
}

function attach(reply: FastifyReply, name: string, type: string): void {
  reply.type(type).headers({
    'cache-control': 'no-store',
    'content-disposition': `attachment; filename="${name}"`,
  })
}

function setWaitHeaders(reply: FastifyReply, { poll_after_ms }: CatalogueView): FastifyReply {
  reply.header('cache-control', 'no-store')
  if (poll_after_ms !== undefined) reply.header('retry-after', Math.ceil(poll_after_ms / 1000))
  return reply
}
