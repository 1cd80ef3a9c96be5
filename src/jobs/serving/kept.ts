import { createHash } from 'node:crypto'
import { buffer } from 'node:stream/consumers'
import { type Static, Type } from 'typebox'
import { Value } from 'typebox/value'
import { anonymous, type Caller, requireScope, type Scope } from '../caller.ts'
import { AppError, toAppError } from '../errors.ts'
import { imageFormats } from '../fields.ts'
import { ResolvedRequest } from '../job.ts'
import { bestEffort } from '../log.ts'
import type { StoredFile } from '../ports.ts'
import { fromJson } from '../stored-json.ts'
import { isKeptIdShaped, keptIdOf } from '../stored-names.ts'
import { oneByOne } from './one-by-one.ts'
import { formatOf, getPicture } from './picture.ts'
import type { Space } from './space.ts'
import type { ThumbnailDeps, ThumbnailSide } from './thumbnail.ts'

/**
 * Pictures that are kept for good: copies under the name of their caller, apart from all that expires. The store is the
 * index, so that they are found with the status store wiped, and with another secret: the place says whose they are, and
 * no signature. What a caller may keep is bounded by a number. A server keeps one picture of a caller at a time, for the bound and
 * for its memory; some that several servers keep at the same moment may go beyond it.
 */

export interface KeptLimits {
  /** Of each caller. 0: nothing more is kept. */
  readonly pictures: number
  /** Whether somebody without a key may keep pictures: the one person at a machine that serves nobody else. */
  readonly anonymous: boolean
}

const Document = Type.Object({
  v: Type.Literal(1),
  job: Type.String(),
  index: Type.Integer(),
  format: Type.Enum(imageFormats),
  width: Type.Integer(),
  height: Type.Integer(),
  seed: Type.Integer(),
  bytes: Type.Integer(),
  sha256: Type.String(),
  /** Of whatever version wrote it. */
  request: Type.Optional(Type.Unknown()),
  created_at: Type.String(),
  kept_at: Type.String(),
})
type Document = Static<typeof Document>

export const KeptView = Type.Object({
  id: Type.String(),
  job: Type.String({ description: 'The job that made it, which may be gone.' }),
  index: Type.Integer({ description: 'Its place among the pictures of the job.' }),
  url: Type.String({ description: 'Address of the picture, relative to this server.' }),
  format: Type.Enum(imageFormats),
  width: Type.Integer(),
  height: Type.Integer(),
  seed: Type.Integer(),
  sha256: Type.String(),
  bytes: Type.Integer(),
  request: Type.Optional(ResolvedRequest),
  created_at: Type.String({ description: 'When its job was accepted.' }),
  kept_at: Type.String(),
  links: Type.Object({ self: Type.String() }),
})
export type KeptView = Static<typeof KeptView>

/** A page of what a caller keeps, the newest jobs first. */
interface KeptPage {
  readonly kept: readonly KeptView[]
  /** Of all pages, and how many there may be. */
  readonly count: number
  readonly limit: number
  /** Where the list continues. */
  readonly next?: string
}

export interface KeptFile {
  readonly view: KeptView
  /** Rejects `not_found` if the file was deleted. */
  open(): Promise<StoredFile>
}

/** An address from which the client can fetch the picture for `seconds` from now. */
export interface KeptAddress {
  readonly view: KeptView
  readonly url: string
  readonly seconds: number
}

interface KeptThumbnail {
  readonly view: KeptView
  readonly side: ThumbnailSide
  make(): Promise<Uint8Array | undefined>
}

/** Every method rejects `forbidden` for a caller that keeps nothing, `unavailable`, and `not_found` for what it has not kept. */
export interface KeptPictures {
  readonly limit: number
  /** Whether this caller may keep pictures, or see and delete what it kept before. */
  may(caller: Caller): boolean
  /**
   * Keeps a picture of a job; keeping it again changes nothing, also when the job is gone. Rejects like `getPicture`, `kept_full`,
   * `storage_full`.
   */
  keep(
    id: string,
    index: number,
    caller: Caller,
  ): Promise<{ readonly view: KeptView; readonly isNew: boolean }>
  /** @param after the id behind which it begins */
  list(caller: Caller, page: { readonly after?: string; readonly most: number }): Promise<KeptPage>
  /** The ids of all. */
  ids(caller: Caller): Promise<ReadonlySet<string>>
  view(id: string, caller: Caller): Promise<KeptView>
  file(id: string, caller: Caller): Promise<KeptFile>
  /** The same, or an address from which the client can fetch it, if there is one. */
  fileOrAddress(id: string, caller: Caller): Promise<KeptFile | KeptAddress>
  thumbnail(id: string, side: ThumbnailSide, caller: Caller): Promise<KeptThumbnail>
  remove(id: string, caller: Caller): Promise<void>
}

export interface KeptDeps extends ThumbnailDeps {
  readonly space: Space
  readonly keptLimits: KeptLimits
}

const addressSeconds = 300
/** Documents that are read at the same time. */
const readers = 8
/** What has no document after so long was left behind by a crash. */
const unfinishedMs = 3_600_000

export function createKept(deps: KeptDeps): KeptPictures {
  const { images, log, now, keptLimits: limits } = deps
  const inTurn = oneByOne()
  const may = ({ name }: Caller) => name !== anonymous || limits.anonymous
  const by = async <T>(scope: Scope, caller: Caller, action: (owner: string) => Promise<T>): Promise<T> => {
    try {
      requireScope(caller, scope)
      if (!may(caller)) throw namesNobody()
      return await action(caller.name)
    } catch (thrown) {
      throw toAppError(thrown)
    }
  }
  const find = async (owner: string, id: string): Promise<KeptView | undefined> => {
    const bytes = isKeptIdShaped(id) ? await images.getKept(owner, id) : undefined
    return bytes === undefined ? undefined : viewOf(id, parse(id, bytes))
  }
  const expect = async (owner: string, id: string): Promise<KeptView> => (await find(owner, id)) ?? missing()
  const fileOf = (owner: string, view: KeptView): KeptFile => ({
    view,
    open: async () => (await images.openKept(owner, view.id, view.format)) ?? missing(),
  })
  const whole = async (owner: string) => (await images.listKept(owner)).filter((each) => each.whole)

  /** Rejects `kept_full`. What a crash left behind is deleted, and counts until then. */
  const requireRoom = async (owner: string, id: string) => {
    const oldest = now().getTime() - unfinishedMs
    let count = 0
    for (const each of await images.listKept(owner)) {
      if (each.id === id) continue
      if (each.whole || each.at.getTime() > oldest) count += 1
      else await bestEffort(log, 'deleting what was not kept', images.deleteKept(owner, each.id))
    }
    if (count >= limits.pictures) throw full(owner, count, limits.pictures)
  }

  const copy = async (owner: string, job: string, index: number) => {
    const id = keptIdOf(job, index)
    const before = await find(owner, id)
    if (before !== undefined) return { view: before, isNew: false }
    const found = await getPicture(deps, job, index, owner)
    if (limits.pictures === 0) throw keepsNothing()
    await requireRoom(owner, id)
    const { width, height, seed, bytes, sha256 } = found.image
    await deps.space.take('results', bytes)
    const picture = await bytesOf(await found.open())
    if (createHash('sha256').update(picture).digest('hex') !== sha256)
      throw damaged(`Picture ${index} of job ${job}`)
    const format = formatOf(found)
    const { request, created_at } = found.job
    const about = {
      width,
      height,
      seed,
      bytes,
      sha256,
      request,
      created_at,
      kept_at: now().toISOString(),
    }
    const document: Document = { v: 1, job, index, format, ...about }
    await images.putKept(owner, id, { format, picture, document: Buffer.from(JSON.stringify(document)) })
    log.info({ job, index }, 'picture kept for good')
    return { view: viewOf(id, document), isNew: true }
  }

  return {
    limit: limits.pictures,
    may,
    keep: (job, index, caller) =>
      by('jobs:write', caller, (owner) => inTurn(owner, () => copy(owner, job, index))),
    list: (caller, { after, most }) =>
      by('jobs:read', caller, async (owner) => {
        const ids = (await whole(owner)).map(({ id }) => id).reverse()
        const rest = after === undefined ? ids : ids.filter((id) => id < after)
        const page = rest.slice(0, most)
        const kept: KeptView[] = []
        for (let at = 0; at < page.length; at += readers) {
          const some = page.slice(at, at + readers).map((id) => readable(find(owner, id)))
          kept.push(...(await Promise.all(some)).flatMap((view) => view ?? []))
        }
        const last = rest.length > page.length ? page.at(-1) : undefined
        return { kept, count: ids.length, limit: limits.pictures, ...(last !== undefined && { next: last }) }
      }),
    ids: (caller) =>
      by('jobs:read', caller, async (owner) => new Set((await whole(owner)).map(({ id }) => id))),
    view: (id, caller) => by('jobs:read', caller, (owner) => expect(owner, id)),
    file: (id, caller) => by('jobs:read', caller, async (owner) => fileOf(owner, await expect(owner, id))),
    fileOrAddress: (id, caller) =>
      by('jobs:read', caller, async (owner) => {
        const view = await expect(owner, id)
        const url = await images.keptAddressOf(owner, id, view.format, addressSeconds)
        return url === undefined ? fileOf(owner, view) : { view, url, seconds: addressSeconds }
      }),
    thumbnail: (id, side, caller) =>
      by('jobs:read', caller, async (owner) => {
        const { view, open } = fileOf(owner, await expect(owner, id))
        return { view, side, make: () => deps.thumbnails(side, async () => bytesOf(await open())) }
      }),
    remove: (id, caller) =>
      by('jobs:cancel', caller, async (owner) => {
        if (!isKeptIdShaped(id) || (await images.getKept(owner, id)) === undefined) missing()
        await images.deleteKept(owner, id)
        log.info({ kept: id }, 'kept picture deleted on request')
      }),
  }
}

/** A damaged document does not hide the others; its id still counts, and can be deleted. */
async function readable(found: Promise<KeptView | undefined>): Promise<KeptView | undefined> {
  try {
    return await found
  } catch (thrown) {
    if (thrown instanceof DamagedDocument) return undefined
    throw thrown
  }
}

class DamagedDocument extends AppError {}

function parse(id: string, bytes: Uint8Array): Document {
  try {
    return fromJson(Document, Buffer.from(bytes).toString())
  } catch (cause) {
    throw new DamagedDocument('unavailable', `What is known of the kept picture ${id} is damaged.`, { cause })
  }
}

/** A request that this version does not understand is left out: the picture is still there. */
function viewOf(id: string, { v: _v, request, ...document }: Document): KeptView {
  const url = `/v1/kept/${id}/image`
  const known = Value.Check(ResolvedRequest, request) ? { request } : {}
  return { id, url, ...document, ...known, links: { self: `/v1/kept/${id}` } }
}

async function bytesOf({ body }: StoredFile): Promise<Uint8Array> {
  return body instanceof Uint8Array ? body : buffer(body)
}

function missing(): never {
  throw new AppError('not_found', 'There is no kept picture with this id.', { param: 'id' })
}

function damaged(what: string): AppError {
  return new AppError('unavailable', `${what} is damaged: it cannot be kept.`)
}

function namesNobody(): AppError {
  const message =
    'Pictures are kept for good for callers with a key: without one nobody could say later whose they are. Ask the operator for a key, or download what is to last.'
  return new AppError('forbidden', message)
}

function keepsNothing(): AppError {
  const message =
    'This installation keeps no pictures for good (PACKSHOT_KEPT_PICTURES=0): download what is to last.'
  return new AppError('forbidden', message)
}

function full(owner: string, count: number, limit: number): AppError {
  const message = `At most ${limit} pictures of one caller are kept for good, and ${owner} has ${count}: this would be one more. Delete some that are no longer needed, or ask the operator to raise PACKSHOT_KEPT_PICTURES.`
  return new AppError('kept_full', message, { param: 'index' })
}
