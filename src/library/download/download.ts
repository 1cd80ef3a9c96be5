import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { checkAddress, DownloadError, shown } from './addresses.ts'
import { checkSpace } from './disk-space.ts'
import { forgetOrigin, Partial } from './partial.ts'
import { request } from './request.ts'
import { readOffer, TryAgain, webPage } from './response.ts'

export interface DownloadOptions {
  readonly url: string
  /** Where the bytes go. What stays there after a failure is only for going on. */
  readonly path: string
  /** Sent to the host of `url` alone, not to where it redirects. */
  readonly token?: string | undefined
  /** In hexadecimal digits: a file with another one is deleted. */
  readonly sha256?: string | undefined
  /** Bytes, as known from elsewhere. */
  readonly size?: number | undefined
  readonly onProgress?: (done: number, total: number | undefined) => void
  /** Told in words what went wrong and is tried again. */
  readonly onNote?: (text: string) => void
  readonly patience?: Patience
  readonly freeBytes?: (folder: string) => Promise<number>
}

interface Patience {
  /** Tries in a row without a byte before the download is given up. */
  readonly tries: number
  /** Pause after the first; it doubles. */
  readonly pauseMs: number
  readonly longestPauseMs: number
  /** Without a byte for this long, a connection counts as broken. */
  readonly stallMs: number
}

const defaultPatience: Patience = { tries: 6, pauseMs: 1000, longestPauseMs: 30_000, stallMs: 60_000 }

export interface Downloaded {
  readonly sha256: string
  readonly bytes: number
  /** As the server calls it; not safe as it is. */
  readonly fileName: string
}

/**
 * Downloads one file, over as many connections as it takes. When it resolves, the whole file lies under `path`, durable,
 * and has the size and hash that were promised.
 * @throws DownloadError in words; a broken connection leaves the partial file, a wrong file is deleted
 */
export async function download(options: DownloadOptions): Promise<Downloaded> {
  const { path, onNote = () => {}, patience = defaultPatience } = options
  const start = parseUrl(options.url)
  checkAddress(start, start, options.sha256 !== undefined)
  const partial = await Partial.open(path, markOf(start))
  try {
    let failures = 0
    let most = partial.bytes
    for (;;) {
      try {
        await transfer(options, start, partial)
        return await finished(options, start, partial)
      } catch (thrown) {
        if (!mayHelp(thrown)) throw diskFault(thrown, partial)
        const again = thrown instanceof TryAgain ? thrown : undefined
        failures = partial.bytes > most ? 1 : failures + 1
        most = Math.max(most, partial.bytes)
        const reason = thrown instanceof TryAgain ? thrown.message : reasonOf(thrown)
        if (failures >= patience.tries) throw givenUp(start, partial, reason, thrown)
        if (again?.startOver) await partial.startOver()
        const doubled = patience.pauseMs * 2 ** (failures - 1)
        const pause = Math.min(again?.afterMs ?? doubled, patience.longestPauseMs)
        onNote(`${reason}; again in ${Math.ceil(pause / 1000)} s, from byte ${partial.bytes}`)
        await sleep(pause)
      }
    }
  } finally {
    await partial.close()
  }
}

function parseUrl(text: string): URL {
  if (!URL.canParse(text)) throw new DownloadError(`${JSON.stringify(text)} is no address`)
  return new URL(text)
}

/** One connection: from the bytes that are there to the end of the file. */
async function transfer(options: DownloadOptions, start: URL, partial: Partial): Promise<void> {
  const { size, onProgress, patience = defaultPatience } = options
  // without a mark of its version, what came may be a part of another file
  if (partial.origin?.etag === undefined && partial.origin?.lastModified === undefined)
    await partial.startOver()
  if (partial.bytes > 0 && partial.bytes === partial.origin?.total) return
  const controller = new AbortController()
  const stalled = () => controller.abort(new TryAgain(`nothing came for ${patience.stallMs / 1000} s`))
  const timer = setTimeout(stalled, patience.stallMs)
  try {
    const response = await request(options, start, partial, controller.signal)
    try {
      const offer = readOffer(response, partial.bytes, markOf(start), partial.origin)
      const { total } = offer.origin
      if (size !== undefined && total !== undefined && total !== size) {
        await partial.discard()
        throw new DownloadError(
          `${shown(start)}: the file should have ${size} bytes, the server has one of ${total}`,
        )
      }
      if (offer.begin === 0) await partial.startOver()
      await partial.belongsTo(offer.origin)
      await checkSpace(options, (total ?? size ?? 0) - partial.bytes)
      const most = total ?? size ?? Number.POSITIVE_INFINITY
      if (response.body === null) throw new TryAgain('the answer is empty')
      for await (const chunk of response.body as ReadableStream<Uint8Array>) {
        timer.refresh()
        if (partial.bytes === 0 && looksLikePage(chunk)) {
          await partial.discard()
          throw webPage(start)
        }
        if (partial.bytes + chunk.length > most) {
          await partial.discard()
          throw new DownloadError(
            `${shown(start)}: more came than the ${most} bytes that the server spoke of`,
          )
        }
        await partial.append(chunk)
        onProgress?.(partial.bytes, total ?? size)
      }
    } finally {
      await response.body?.cancel().catch(() => {})
    }
  } finally {
    clearTimeout(timer)
  }
  const { total } = partial.origin ?? {}
  const wanted = total ?? size
  if (wanted !== undefined && partial.bytes < wanted) {
    throw new TryAgain(`the connection ended after ${partial.bytes} of ${wanted} bytes`)
  }
}

async function finished(options: DownloadOptions, start: URL, partial: Partial): Promise<Downloaded> {
  const { size, sha256 } = options
  if (size !== undefined && partial.bytes !== size) {
    await partial.discard()
    throw new DownloadError(
      `${shown(start)}: ${partial.bytes} bytes came, the file should have ${size}; it was deleted`,
    )
  }
  const found = await partial.finish()
  if (sha256 !== undefined && found !== sha256.toLowerCase()) {
    await partial.discard()
    throw new DownloadError(
      `${shown(start)}: the file has the SHA-256 ${found}, it should have ${sha256.toLowerCase()}; it was deleted`,
    )
  }
  const fileName = partial.origin?.fileName ?? ''
  await forgetOrigin(options.path)
  return { sha256: found, bytes: partial.bytes, fileName }
}

/** Some servers send their login page as `application/octet-stream`. */
function looksLikePage(chunk: Uint8Array): boolean {
  return /^\s*<(!doctype html|html)/i.test(Buffer.from(chunk.subarray(0, 200)).toString('latin1'))
}

/** Faults of the connection; those of the disk and of the file stay the same however often they are tried. */
function mayHelp(thrown: unknown): boolean {
  if (thrown instanceof TryAgain) return true
  // what fetch and its streams throw for a connection: "fetch failed" and "terminated", with a cause
  return thrown instanceof TypeError && thrown.cause !== undefined
}

function diskFault(thrown: unknown, { bytes }: Partial): unknown {
  if (
    !(thrown instanceof Error && 'code' in thrown && (thrown.code === 'ENOSPC' || thrown.code === 'EDQUOT'))
  ) {
    return thrown
  }
  const message = `the disk is full; ${bytes} bytes are kept, make room and add it again to go on`
  return new DownloadError(message, { cause: thrown })
}

/** Tells addresses apart without keeping the keys that may be in their queries. */
function markOf(url: URL): string {
  return createHash('sha256').update(url.href).digest('hex')
}

/** fetch says "fetch failed" or "terminated"; its causes say why. */
function reasonOf(thrown: unknown): string {
  let last = thrown
  while (last instanceof Error && last.cause instanceof Error) last = last.cause
  const detail = last instanceof Error ? last.message : String(last)
  return `the connection broke off (${detail})`
}

function givenUp(start: URL, partial: Partial, reason: string, cause: unknown): DownloadError {
  const kept = partial.bytes > 0 ? `; ${partial.bytes} bytes are kept, add it again to go on` : ''
  return new DownloadError(`${shown(start)}: ${reason}${kept}`, { cause })
}
