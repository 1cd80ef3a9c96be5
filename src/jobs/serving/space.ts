import { AppError } from '../errors.ts'
import type { ResolvedRequest } from '../job.ts'
import { bestEffort, type Log } from '../log.ts'
import { drawnSize } from '../pictures.ts'
import type { ImageStore } from '../ports.ts'

/**
 * Room for uploads and results. Bounds in bytes for all callers together, and a low-water mark of free space: beyond
 * them nothing new is accepted, so that accepted jobs can still store their pictures.
 *
 * What is stored is measured now and then, because other servers and workers write too; in between, what was accepted
 * here is added. So the bounds hold approximately; free space is asked for at every request.
 */
export interface Space {
  /** Counts bytes that are about to be stored. Rejects `storage_full`. */
  take(kind: 'uploads' | 'results', bytes: number): Promise<void>
}

/** In bytes; 0 is no bound. */
export interface SpaceLimits {
  readonly uploads: number
  readonly results: number
  readonly free: number
}

const measureEveryMs = 600_000
/** When a bound is reached: somebody may have made room. */
const measureAgainMs = 5000

export function watchSpace(
  { images, log }: { readonly images: ImageStore; readonly log: Log },
  limits: SpaceLimits,
): Space {
  let used = { uploads: 0, results: 0 }
  let added = { uploads: 0, results: 0 }
  let measuredAt = Number.NEGATIVE_INFINITY
  let measuring: Promise<void> | undefined

  const measure = async () => {
    measuredAt = performance.now()
    const before = added
    added = { uploads: 0, results: 0 }
    const found = await bestEffort(log, 'measuring what is stored', images.measure())
    if (found === undefined) {
      added = { uploads: added.uploads + before.uploads, results: added.results + before.results }
    } else {
      used = found
    }
  }
  const measureIfOlder = (ms: number) => {
    if (performance.now() - measuredAt < ms) return measuring
    measuring = measure().finally(() => {
      measuring = undefined
    })
    return measuring
  }
  const isFull = (kind: 'uploads' | 'results', bytes: number) =>
    limits[kind] > 0 && used[kind] + added[kind] + bytes > limits[kind]

  return {
    async take(kind, bytes) {
      const free =
        limits.free === 0 ? undefined : await bestEffort(log, 'looking for free space', images.freeBytes())
      if (free !== undefined && free - bytes < limits.free) {
        const message = `The storage has too little free space: ${megabytes(free)} MB, and ${megabytes(limits.free)} MB are kept free. Nothing new is accepted until there is more.`
        throw new AppError('storage_full', message)
      }
      if (limits[kind] > 0) void measureIfOlder(measureEveryMs)
      if (isFull(kind, bytes)) await measureIfOlder(measureAgainMs)
      if (isFull(kind, bytes)) {
        const message = `All ${kind} together may take ${megabytes(limits[kind])} MB, and have ${megabytes(used[kind] + added[kind])} MB. Nothing new is accepted until some are deleted or expire.`
        throw new AppError('storage_full', message)
      }
      added[kind] += bytes
    },
  }
}

function megabytes(bytes: number): number {
  return Math.round(bytes / 2 ** 20)
}

/** What is kept of an upload, in pixels, unless the installation says otherwise. */
const uploadPixels = 9e6

/**
 * The pictures of a job have at most about so many bytes: a PNG is rarely larger than its pixels.
 * @param delivered their size
 */
export function pictureBytes(request: ResolvedRequest, delivered: Size): number {
  const { count, format, finish, keep, strength } = request
  const pixels = ({ width, height }: Size) => width * height
  // a picture that nothing was drawn on is as large as uploads are, and so is one with the product of a photo
  const drawn = strength === 0 || keep !== undefined ? uploadPixels : pixels(drawnSize(request))
  const made = keep !== undefined && strength !== 0 && finish === undefined ? drawn : pixels(delivered)
  // the original is kept beside a finished one
  return Math.ceil(count * (made * (format === 'png' ? 3 : 1.5) + (finish === undefined ? 0 : drawn * 3)))
}

interface Size {
  readonly width: number
  readonly height: number
}
