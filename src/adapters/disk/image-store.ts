import { open, readdir, readFile, rm, stat, statfs } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Manifest } from '../../jobs/job.ts'
import { hasExpired, isJobIdShaped, uploadIsOver } from '../../jobs/job-id.ts'
import type { ImageStore, StoredFile } from '../../jobs/ports.ts'
import { fromJson } from '../../jobs/stored-json.ts'
import { DamagedManifest, dayOf, imageName, manifestName, uploadHeadBytes } from '../../jobs/stored-names.ts'
import { storageError, unlessMissing, writeFirst, writeWhole } from './files.ts'
import { namesIn, removeIfEmpty, sweepTemporaries } from './folders.ts'
import { diskKept } from './kept.ts'
import { diskRuns } from './runs.ts'

export interface ImageStoreOptions {
  readonly folder: string
  /** How long results are kept: a job's folder without a manifest is an unfinished job for that long. */
  readonly ttlSeconds: number
  /** A temporary file older than this was left behind by a crash. */
  readonly temporaryMs?: number
}

/**
 * `<folder>/<yyyy-mm-dd>/<id>/0.png, 1.png (or .jpg, .webp), ... manifest.json`, the day being that of the id. A manifest is placed
 * by link(2), which fails when the name is taken: so the first one wins, also between processes. Only a well-formed
 * id ever becomes part of a path. Uploads are in `<folder>/uploads/<yyyy-mm-dd>/<id>.png`,
 * what is kept for good in `<folder>/kept/<caller>/`.
 */
export function diskImageStore(options: ImageStoreOptions): ImageStore {
  const { folder, ttlSeconds, temporaryMs = 600_000 } = options
  const guarded = async <T>(action: () => Promise<T>): Promise<T> => {
    try {
      return await action()
    } catch (thrown) {
      throw storageError(thrown, folder)
    }
  }
  const uploads = join(folder, 'uploads')
  const folderOf = (id: string) => join(folder, dayOf(id), id)
  const uploadOf = (id: string) => join(uploads, dayOf(id), `${id}.png`)
  const readManifest = async (id: string) => {
    const path = join(folderOf(id), manifestName)
    const text = await unlessMissing(readFile(path, 'utf8'))
    return text === undefined ? undefined : parseManifest(text, path)
  }
  const sweepJob = async (id: string, now: Date): Promise<boolean> => {
    // A damaged manifest must not stop the sweep; its own job is judged by the age of its id.
    const manifest = await readManifest(id).catch((thrown: unknown) => {
      if (thrown instanceof DamagedManifest) return undefined
      throw thrown
    })
    const over =
      manifest === undefined
        ? hasExpired(id, ttlSeconds, now)
        : Date.parse(manifest.expires_at) <= now.getTime()
    if (over) {
      // The manifest goes first: an interrupted sweep leaves only files that no client sees.
      await rm(join(folderOf(id), manifestName), { force: true })
      await rm(folderOf(id), { recursive: true, force: true })
    } else {
      await sweepTemporaries(folderOf(id), now.getTime() - temporaryMs)
    }
    return over && manifest !== undefined
  }
  const sweepUploads = async (now: Date) => {
    for (const day of await namesIn(uploads)) {
      const path = join(uploads, day)
      for (const name of await namesIn(path)) {
        const id = name.slice(0, -'.png'.length)
        if (isJobIdShaped(id) && uploadIsOver(id, ttlSeconds, now))
          await rm(join(path, name), { force: true })
      }
      await sweepTemporaries(path, now.getTime() - temporaryMs)
      await removeIfEmpty(path)
    }
  }

  const runs = diskRuns(folder, ttlSeconds)
  const kept = diskKept(folder)

  return {
    putImage: (id, index, format, bytes) =>
      guarded(() => writeWhole(join(folderOf(id), imageName(index, format)), bytes)),
    getImage: (id, index, format) =>
      guarded(() => unlessMissing(readFile(join(folderOf(id), imageName(index, format))))),
    openImage: (id, index, format) => guarded(() => openFile(join(folderOf(id), imageName(index, format)))),
    /** Clients cannot reach a folder of the server. */
    addressOf: async () => undefined,
    commit: (manifest) =>
      guarded(async () => {
        const path = join(folderOf(manifest.id), manifestName)
        const first = await writeFirst(path, manifestBytes(manifest))
        return first ? manifest : ((await readManifest(manifest.id)) ?? manifest)
      }),
    getManifest: (id) => guarded(() => readManifest(id)),
    putUpload: (id, bytes) => guarded(() => writeWhole(uploadOf(id), bytes)),
    getUpload: (id) => guarded(() => unlessMissing(readFile(uploadOf(id)))),
    openUpload: (id) => guarded(() => openFile(uploadOf(id))),
    getUploadHead: (id) =>
      guarded(async () => {
        const file = await unlessMissing(open(uploadOf(id)))
        if (file === undefined) return undefined
        try {
          const { buffer, bytesRead } = await file.read(Buffer.alloc(uploadHeadBytes), 0, uploadHeadBytes, 0)
          return buffer.subarray(0, bytesRead)
        } finally {
          await file.close()
        }
      }),
    deleteUpload: (id) => guarded(() => rm(uploadOf(id), { force: true })),
    purge: (tombstone, { images, request }) =>
      guarded(async () => {
        const { id } = tombstone
        await writeWhole(join(folderOf(id), manifestName), manifestBytes(tombstone))
        for (const { index } of images) {
          for (const kind of [request.format, 'original'] as const)
            await rm(join(folderOf(id), imageName(index, kind)), { force: true })
        }
      }),
    putRunFile: (id, name, bytes) => guarded(() => runs.put(id, name, bytes)),
    getRunFile: (id, name) => guarded(() => runs.get(id, name)),
    deleteRunFiles: (id, names) => guarded(() => runs.delete(id, names)),
    markRun: (id, isOpen) => guarded(() => runs.mark(id, isOpen)),
    openRuns: () => guarded(() => runs.open()),
    allRuns: () => guarded(() => runs.all()),
    putKept: (owner, id, files) => guarded(() => kept.put(owner, id, files)),
    getKept: (owner, id) => guarded(() => kept.get(owner, id)),
    openKept: (owner, id, format) => guarded(() => openFile(kept.pathOf(owner, id, format))),
    keptAddressOf: async () => undefined,
    deleteKept: (owner, id) => guarded(() => kept.delete(owner, id)),
    listKept: (owner) => guarded(() => kept.list(owner)),
    measure: () =>
      guarded(async () => {
        const all = await bytesBelow(folder)
        const ofUploads = await bytesBelow(uploads)
        return { uploads: ofUploads, results: all - ofUploads }
      }),
    freeBytes: () =>
      guarded(async () => {
        // nothing is stored yet: then the folder is missing
        const disk = (await unlessMissing(statfs(folder))) ?? (await unlessMissing(statfs(dirname(folder))))
        return disk === undefined ? undefined : disk.bavail * disk.bsize
      }),
    sweep: (now) =>
      guarded(async () => {
        let removed = 0
        const faults: unknown[] = []
        for (const day of await namesIn(folder)) {
          if (!/^\d{4}-\d\d-\d\d$/.test(day)) continue
          for (const id of await namesIn(join(folder, day))) {
            if (!isJobIdShaped(id)) continue
            const swept = sweepJob(id, now).catch((thrown: unknown) => void faults.push(thrown))
            if ((await swept) === true) removed += 1
          }
          await removeIfEmpty(join(folder, day))
        }
        await sweepUploads(now).catch((thrown: unknown) => faults.push(thrown))
        await runs.sweep(now, temporaryMs).catch((thrown: unknown) => faults.push(thrown))
        await kept.sweep(now.getTime() - temporaryMs).catch((thrown: unknown) => faults.push(thrown))
        if (faults.length > 0) throw faults[0]
        return removed
      }),
  }
}

async function openFile(path: string): Promise<StoredFile | undefined> {
  const file = await unlessMissing(open(path))
  if (file === undefined) return undefined
  const { size } = await file.stat()
  return { bytes: size, body: file.createReadStream() }
}

function manifestBytes(manifest: Manifest): Buffer {
  return Buffer.from(JSON.stringify(manifest, undefined, 2))
}

function parseManifest(text: string, path: string): Manifest {
  try {
    return fromJson(Manifest, text)
  } catch (cause) {
    throw new DamagedManifest(path, cause)
  }
}

async function bytesBelow(folder: string): Promise<number> {
  let sum = 0
  const folders = [folder]
  for (let next = folders.pop(); next !== undefined; next = folders.pop()) {
    for (const entry of (await unlessMissing(readdir(next, { withFileTypes: true }))) ?? []) {
      const path = join(next, entry.name)
      if (entry.isDirectory()) folders.push(path)
      else sum += (await unlessMissing(stat(path)))?.size ?? 0
    }
  }
  return sum
}
