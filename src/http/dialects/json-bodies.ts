import type { FastifyInstance } from 'fastify'
import { AppError } from '../../jobs/errors.ts'

/**
 * JSON bodies as the clients of other APIs send them: several send `content-type: application/json` with nothing after
 * it, which counts as `{}`. Any other type is refused: a browser sends text/plain to other sites without asking.
 * A key that comes twice is not looked for: these bodies carry pictures, and a search costs more than the parser.
 */
export function readJsonOrNothing(app: FastifyInstance, bodyLimit: number): void {
  const parse = app.getDefaultJsonParser('error', 'error')
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'buffer', bodyLimit }, (request, body, done) => {
    if (body.length === 0) return done(null, {})
    let text: string
    try {
      text = typeof body === 'string' ? body : new TextDecoder('utf-8', { fatal: true }).decode(body)
    } catch (cause) {
      return done(new AppError('invalid_json', 'The body is not UTF-8.', { cause }))
    }
    void parse(request, text, done)
  })
  app.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit }, (request, body, done) => {
    if (body.length === 0) return done(null, {})
    const given = request.headers['content-type'] ?? 'missing'
    const message = `content-type must be application/json, but was ${given.slice(0, 100)}.`
    done(new AppError('unsupported_media_type', message, { param: 'content-type' }))
  })
}

type Fields = Readonly<Record<string, unknown>>

/** The fields of a JSON body; rejects `invalid_request` for a list, a text and the like. */
export function fieldsOf(body: unknown): Fields {
  if (body === undefined || body === null) return {}
  if (typeof body === 'object' && !Array.isArray(body)) return body as Fields
  throw new AppError('invalid_request', 'The body must be a JSON object.', { param: 'body' })
}

/**
 * Ours from theirs: the value of the first of `names` that is given; null counts as absent, as in these APIs. A list or
 * an object is refused here, so that what is passed on can be copied, hashed and shown.
 */
export function given(fields: Fields, ...names: readonly string[]): string | number | boolean | undefined {
  for (const name of names) {
    const value = Object.hasOwn(fields, name) ? fields[name] : undefined
    if (value === undefined || value === null) continue
    if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') return value
    const what = Array.isArray(value) ? 'a list' : 'an object'
    throw new AppError('invalid_request', `${name} must be a text or a number, but was ${what}.`, {
      param: name,
    })
  }
  return undefined
}

/** The entries that have a value. */
export function withoutAbsent(fields: Fields): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
}

/** How many pictures are asked for; rejects `invalid_request`. */
export function countOf(value: unknown, name: string, most: number): number {
  if (value === undefined) return 1
  if (Number.isInteger(value) && Number(value) >= 1 && Number(value) <= most) return Number(value)
  const shown = typeof value === 'string' ? JSON.stringify(value.slice(0, 40)) : String(value)
  throw new AppError(
    'invalid_request',
    `${name} must be a whole number from 1 to ${most}, but was ${shown}.`,
    {
      param: name,
    },
  )
}
