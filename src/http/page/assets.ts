import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import fastifyStatic from '@fastify/static'
import type { FastifyInstance } from 'fastify'
import { AppError } from '../../jobs/errors.ts'

/** Every file that a page may load. Nothing else in node_modules or this folder can be requested. */
const sources = {
  'materialize.css': '@materializecss/materialize/dist/css/materialize.min.css',
  'htmx.js': 'htmx.org/dist/htmx.min.js',
  'studio.css': './assets/studio.css',
  'form.css': './assets/form.css',
  'suggestions.css': './assets/suggestions.css',
  'photo.css': './assets/photo.css',
  'wall.css': './assets/wall.css',
  'pictures.css': './assets/pictures.css',
  'catalogue.css': './assets/catalogue.css',
  'rooms.css': './assets/rooms.css',
  'form.js': './assets/form.js',
  'photo-stage.js': './assets/photo-stage.js',
  'photo.js': './assets/photo.js',
  'wall.js': './assets/wall.js',
  'rooms.js': './assets/rooms.js',
  'catalogue.js': './assets/catalogue.js',
  'favicon.svg': './assets/favicon.svg',
} as const

type AssetName = keyof typeof sources

interface Asset {
  readonly folder: string
  readonly file: string
  readonly version: string
}

/** The URLs of the files, each containing the hash of its content. */
export interface Assets {
  find(name: string): Asset | undefined
  url(name: AssetName): string
}

const oneYear = '365d'

/** Reads the files once, for the hashes. */
export async function loadAssets(): Promise<Assets> {
  const assets = new Map<string, Asset>()
  for (const [name, source] of Object.entries(sources)) {
    const path = fileURLToPath(import.meta.resolve(source))
    const hash = createHash('sha256').update(await readFile(path))
    const version = hash.digest('base64url').slice(0, 12)
    assets.set(name, { folder: dirname(path), file: basename(path), version })
  }
  return {
    find: (name) => assets.get(name),
    url: (name) => `/assets/${assets.get(name)?.version}/${name}`,
  }
}

/**
 * Serves the files under `/assets/<hash>/<name>`. With the right hash an answer may be cached forever. A wrong one
 * comes from a page that another version of the server wrote (a rolling update): it still gets the file,
 * or that page would lack its style, but the answer must not be cached.
 */
export async function assetRoutes(app: FastifyInstance, assets: Assets): Promise<void> {
  await app.register(fastifyStatic, { serve: false })
  app.get<{ Params: { version: string; name: string } }>(
    '/assets/:version/:name',
    { config: { open: true } },
    (request, reply) => {
      const asset = assets.find(request.params.name)
      if (asset === undefined) throw new AppError('not_found', 'There is no such file.')
      const current = request.params.version === asset.version
      return reply.sendFile(asset.file, asset.folder, { maxAge: current ? oneYear : 0, immutable: current })
    },
  )
}
