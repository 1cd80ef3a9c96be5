import type { FastifyInstance } from 'fastify'
import { AppError } from '../jobs/errors.ts'

/** Bodies as text. What is damaged is refused rather than repaired: other words than were sent must not become a picture. */

/** Reads JSON bodies. Rejects `invalid_json` with a reason. */
export function readJsonBodies(app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser('error', 'error')
  app.removeContentTypeParser('application/json')
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, body, done) => {
    const text = textOf(body)
    void parse(request, text, (error, value) => {
      const twice = error == null ? repeatedKey(text) : undefined
      if (twice === undefined) return done(error, value)
      done(new AppError('invalid_json', `The body has the key ${twice} twice in one object.`))
    })
  })
}

/** Reads every body as a file, whatever its content type, up to so many bytes. */
export function readFileBodies(app: FastifyInstance, bodyLimit: number): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit }, (_request, body, done) => done(null, body))
}

/** A byte order mark stays in the text: the JSON parser removes it. */
function textOf(body: string | Buffer): string {
  if (typeof body === 'string') return body
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body)
  } catch (cause) {
    throw new AppError('invalid_json', 'The body is not UTF-8. Send JSON as UTF-8 (RFC 8259).', { cause })
  }
}

/**
 * The first key that comes twice in an object of this valid JSON text, as it is shown; `JSON.parse` keeps the last. Its
 * cost grows with the length alone: a body may be a list of many megabytes.
 */
function repeatedKey(text: string): string | undefined {
  const open: (Set<string> | undefined)[] = []
  const tokens = /["{}[\]]/g
  for (let token = tokens.exec(text); token !== null; token = tokens.exec(text)) {
    if (token[0] === '{') open.push(new Set())
    else if (token[0] === '[') open.push(undefined)
    else if (token[0] !== '"') open.pop()
    else {
      const end = endOfString(text, token.index)
      tokens.lastIndex = end
      const keys = open.at(-1)
      if (keys === undefined || !isColonNext(text, end)) continue
      const name = String(JSON.parse(text.slice(token.index, end)))
      if (keys.has(name)) return JSON.stringify(name.length > 40 ? `${name.slice(0, 40)}...` : name)
      keys.add(name)
    }
  }
  return undefined
}

/** The index after the string that begins at `start`. */
function endOfString(text: string, start: number): number {
  for (let quote = text.indexOf('"', start + 1); ; quote = text.indexOf('"', quote + 1)) {
    let backslashes = 0
    while (text[quote - 1 - backslashes] === '\\') backslashes += 1
    if (backslashes % 2 === 0) return quote + 1
  }
}

function isColonNext(text: string, from: number): boolean {
  let at = from
  while (/\s/.test(text[at] ?? '')) at += 1
  return text[at] === ':'
}

/**
 * A posted form, for `@fastify/formbody`. Bytes other than ASCII must be escaped in a form, so a replacement character
 * in its text is the trace of bytes that were not UTF-8. Throws `invalid_request`.
 */
export function parseForm(text: string): Record<string, string> {
  const fields: Record<string, string> = Object.create(null)
  for (const pair of text.split('&')) {
    if (pair === '') continue
    const at = pair.indexOf('=')
    const name = unescaped(at < 0 ? pair : pair.slice(0, at))
    const value = unescaped(at < 0 ? '' : pair.slice(at + 1))
    if (name in fields) {
      const shown = name.length > 40 ? `${name.slice(0, 40)}...` : name
      throw new AppError('invalid_request', `The form has the field ${JSON.stringify(shown)} twice.`)
    }
    fields[name] = value
  }
  return fields
}

function unescaped(text: string): string {
  try {
    if (!text.includes('\ufffd')) return decodeURIComponent(text.replaceAll('+', ' '))
  } catch {
    // a sequence of bytes that is not UTF-8
  }
  throw new AppError('invalid_request', 'The form is not UTF-8.')
}
