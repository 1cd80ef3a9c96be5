import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { brotliCompress, constants, gzip } from 'node:zlib'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { AppError } from '../../jobs/errors.ts'
import { isUnchanged } from '../etag.ts'

/**
 * The files that a page loads: one style sheet and one script, put together from their parts when a server starts and
 * compressed once, when they are first asked for. Nothing else in node_modules or this folder can be requested.
 */
const sources = {
  'packshot.css': [
    '@materializecss/materialize/dist/css/materialize.min.css',
    './assets/studio.css',
    './assets/frame.css',
    './assets/form.css',
    './assets/controls.css',
    './assets/swatches.css',
    './assets/suggestions.css',
    './assets/photo.css',
    './assets/stage.css',
    './assets/job.css',
    './assets/pictures.css',
    './assets/film.css',
    './assets/catalogue.css',
    './assets/rooms.css',
  ],
  'packshot.js': [
    'htmx.org/dist/htmx.min.js',
    './assets/form.js',
    './assets/choices.js',
    './assets/loras.js',
    './assets/photo-stage.js',
    './assets/photo.js',
    './assets/wall.js',
    './assets/rooms.js',
    './assets/stage.js',
    './assets/compare.js',
    './assets/copy.js',
    './assets/live.js',
    './assets/away.js',
    './assets/catalogue.js',
  ],
  'favicon.svg': ['./assets/favicon.svg'],
  'pineapple.webp': ['./assets/examples/pineapple.webp'],
  'avocado.webp': ['./assets/examples/avocado.webp'],
  'kiwi.webp': ['./assets/examples/kiwi.webp'],
} as const

export type AssetName = keyof typeof sources

const types: Readonly<Record<AssetName, string>> = {
  'packshot.css': 'text/css; charset=utf-8',
  'packshot.js': 'text/javascript; charset=utf-8',
  'favicon.svg': 'image/svg+xml',
  'pineapple.webp': 'image/webp',
  'avocado.webp': 'image/webp',
  'kiwi.webp': 'image/webp',
}

interface Asset {
  readonly type: string
  readonly version: string
  readonly plain: Buffer
  /** Absent where the file is compressed already. */
  readonly compressed?: (encoding: Encoding) => Promise<Buffer>
}

export type Encoding = 'br' | 'gzip'

/** The URLs of the files, each containing the hash of its content. */
export interface Assets {
  find(name: string): Asset | undefined
  url(name: AssetName): string
}

let loaded: Promise<Assets> | undefined

/** Reads the files at the first call: they are the same for every server of a process. */
export function loadAssets(): Promise<Assets> {
  loaded ??= readAssets()
  return loaded
}

/** Comments that have lines of their own, in our scripts and style sheets: half of what some of them would weigh. */
function withoutComments(text: string): string {
  return text.replace(/^[ \t]*(?:\/\/.*|\/\*[\s\S]*?\*\/)[ \t]*\n/gm, '')
}

async function readPart(part: string): Promise<Buffer> {
  const bytes = await readFile(fileURLToPath(import.meta.resolve(part)))
  return /^\.\/.*\.(css|js)$/.test(part) ? Buffer.from(withoutComments(bytes.toString())) : bytes
}

async function readAssets(): Promise<Assets> {
  const entries = Object.entries(sources).map(async ([name, parts]) => {
    const read = await Promise.all(parts.map(readPart))
    const [only = Buffer.alloc(0), ...others] = read
    // a part may end in a comment, and a script without a semicolon
    const joined = () => Buffer.from(read.map(String).join(name.endsWith('.js') ? '\n;\n' : '\n'))
    const plain = others.length === 0 ? only : joined()
    return [name, assetOf(plain, types[name as AssetName])] as const
  })
  const assets = new Map<string, Asset>(await Promise.all(entries))
  return {
    find: (name) => assets.get(name),
    url: (name) => `/assets/${assets.get(name)?.version}/${name}`,
  }
}

function assetOf(plain: Buffer, type: string): Asset {
  const version = createHash('sha256').update(plain).digest('base64url').slice(0, 12)
  if (type === 'image/webp') return { type, version, plain }
  const made = new Map<Encoding, Promise<Buffer>>()
  return {
    type,
    version,
    plain,
    compressed(encoding) {
      const bytes = made.get(encoding) ?? compress[encoding](plain)
      made.set(encoding, bytes)
      return bytes
    },
  }
}

const compress: Readonly<Record<Encoding, (plain: Buffer) => Promise<Buffer>>> = {
  br: (plain) =>
    promisify(brotliCompress)(plain, {
      params: { [constants.BROTLI_PARAM_QUALITY]: 9, [constants.BROTLI_PARAM_SIZE_HINT]: plain.length },
    }),
  gzip: (plain) => promisify(gzip)(plain, { level: 9 }),
}

const yearSeconds = 365 * 86_400

/**
 * Serves the files under `/assets/<hash>/<name>`. With the right hash an answer may be cached forever. A wrong one
 * comes from a page that another version of the server wrote (a rolling update): it still gets the file,
 * or that page would lack its style, but the answer must not be cached.
 */
export async function assetRoutes(app: FastifyInstance, assets: Assets): Promise<void> {
  app.get<{ Params: { version: string; name: string } }>(
    '/assets/:version/:name',
    { config: { open: true } },
    async (request, reply) => {
      const asset = assets.find(request.params.name)
      if (asset === undefined) throw new AppError('not_found', 'There is no such file.')
      return sendAsset(request, reply, asset, request.params.version === asset.version)
    },
  )
}

async function sendAsset(
  request: FastifyRequest,
  reply: FastifyReply,
  asset: Asset,
  current: boolean,
): Promise<FastifyReply> {
  const encoding = asset.compressed && encodingFor(request.headers['accept-encoding'])
  const tag = `"${asset.version}${encoding === undefined ? '' : `-${encoding}`}"`
  reply.headers({
    'cache-control': current ? `public, max-age=${yearSeconds}, immutable` : 'public, max-age=0',
    vary: 'accept-encoding',
    etag: tag,
  })
  if (isUnchanged(request, tag)) return reply.code(304).send()
  reply.type(asset.type)
  if (encoding === undefined) return reply.send(asset.plain)
  return reply.header('content-encoding', encoding).send(await asset.compressed?.(encoding))
}

/** The better one of those that the client accepts (RFC 9110, section 12.5.3); one with a weight of 0 it does not. */
export function encodingFor(accepted = ''): Encoding | undefined {
  const names = accepted
    .toLowerCase()
    .split(',')
    .map((each) => each.trim())
    .filter((each) => !/;\s*q=0(\.0*)?$/.test(each))
    .map((each) => each.split(';', 1)[0]?.trim())
  return (['br', 'gzip'] as const).find((name) => names.includes(name))
}
