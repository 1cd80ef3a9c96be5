import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { messageOf } from '../../jobs/errors.ts'
import { type Backoff, pauseAfter } from '../../jobs/retry.ts'
import { checkAddress, DownloadError, parseAddress, shown } from './addresses.ts'
import { checkSpace } from './disk-space.ts'
import { forgetOrigin, Partial } from './partial.ts'
import { request } from './request.ts'
import { readReply, TryAgain, webPage } from './response.ts'

export interface DownloadOptions {
  readonly url: string
  /** Where the bytes are written. After a failure its content can only be used to resume. */
  readonly path: string
  /** Sent only to the host of `url`, not to where it redirects. */
  readonly token?: string | undefined
  /** In hexadecimal digits: a file with another hash is deleted. */
  readonly sha256?: string | undefined
  /** In bytes, if known from elsewhere. */
  readonly size?: number | undefined
  readonly onProgress?: (done: number, total: number | undefined) => void
  /** Called with a sentence for each fault after which the download is retried. */
  readonly onNote?: (text: string) => void
  readonly patience?: Patience
  readonly freeBytes?: (folder: string) => Promise<number>
}

interface Patience extends Backoff {
  /** Attempts in a row without a new byte before the download fails. */
  readonly tries: number
  /** A connection without a byte for this long counts as broken. */
  readonly stallMs: number
}

const defaultPatience: Patience = { tries: 7, firstMs: 1000, longestMs: 30_000, stallMs: 60_000 }

export interface Downloaded {
  readonly sha256: string
  readonly bytes: number
  /** As the server names it; not a safe path. */
  readonly fileName: string
}

/**
 * Downloads one file, over as many connections as it takes. When it resolves, the complete file is stored durably at
 * `path` and has the expected size and hash.
 * @throws DownloadError; a broken connection leaves the partial file, a wrong file is deleted
 */
export async function download(options: DownloadOptions): Promise<Downloaded> {
  const { path, onNote = () => {}, patience = defaultPatience } = options
  const start = parseAddress(options.url)
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
        const reason = thrown instanceof TryAgain ? thrown.message : connectionFault(thrown)
        if (failures >= patience.tries) throw givenUp(start, partial, reason, thrown)
        if (again?.startOver) await partial.startOver()
        const pause = Math.min(again?.afterMs ?? pauseAfter(patience, failures), patience.longestMs)
        onNote(`${reason}; retrying in ${Math.ceil(pause / 1000)} s from byte ${partial.bytes}`)
        await sleep(pause)
      }
    }
  } catch (thrown) {
    // nothing to resume
    if (partial.bytes === 0) await partial.discard()
    throw thrown
  } finally {
    await partial.close()
  }
}

/** What asks for the rest of a file. */
function rangeHeaders({ bytes, origin }: Partial): Record<string, string> {
  if (bytes === 0 || origin === undefined) return {}
  // a weak ETag does not promise the same bytes, so servers must not resume by it
  const strong = origin.etag?.startsWith('W/') ? undefined : origin.etag
  const mark = strong ?? origin.lastModified
  return { range: `bytes=${bytes}-`, ...(mark !== undefined && { 'if-range': mark }) }
}

/** One connection: from the bytes already stored to the end of the file. */
async function transfer(options: DownloadOptions, start: URL, partial: Partial): Promise<void> {
  const { size, onProgress, patience = defaultPatience } = options
  // without an ETag or a date, the stored bytes may be part of another version of the file
  if (partial.origin?.etag === undefined && partial.origin?.lastModified === undefined)
    await partial.startOver()
  if (partial.bytes > 0 && partial.bytes === partial.origin?.total) return
  const controller = new AbortController()
  const stalled = () =>
    controller.abort(new TryAgain(`the server sent nothing for ${patience.stallMs / 1000} s`))
  const timer = setTimeout(stalled, patience.stallMs)
  try {
    const response = await request(start, {
      token: options.token,
      hasHash: options.sha256 !== undefined,
      headers: { 'accept-encoding': 'identity', ...rangeHeaders(partial) },
      signal: controller.signal,
    })
    try {
      const reply = readReply(response, partial.bytes, markOf(start), partial.origin)
      const { total } = reply.origin
      if (size !== undefined && total !== undefined && total !== size) {
        await partial.discard()
        throw new DownloadError(
          `${shown(start)}: the file should have ${size} bytes, but the server announces ${total}`,
        )
      }
      if (reply.begin === 0) await partial.startOver()
      await partial.belongsTo(reply.origin)
      await checkSpace(options, (total ?? size ?? 0) - partial.bytes)
      const most = total ?? size ?? Number.POSITIVE_INFINITY
      if (response.body === null) throw new TryAgain('the response is empty')
      for await (const chunk of response.body as ReadableStream<Uint8Array>) {
        timer.refresh()
        if (partial.bytes === 0 && looksLikePage(chunk)) {
          await partial.discard()
          throw webPage(start)
        }
        if (partial.bytes + chunk.length > most) {
          await partial.discard()
          throw new DownloadError(`${shown(start)}: the server sent more than the announced ${most} bytes`)
        }
        await partial.append(chunk)
        onProgress?.(partial.bytes, total ?? size)
      }
    } finally {
      // what is left of the answer is not wanted; a connection that is broken needs no end
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
      `${shown(start)}: the server sent ${partial.bytes} bytes, but the file should have ${size}; it was deleted`,
    )
  }
  const found = await partial.finish()
  if (sha256 !== undefined && found !== sha256.toLowerCase()) {
    await partial.discard()
    throw new DownloadError(
      `${shown(start)}: the file has the SHA-256 ${found}, but ${sha256.toLowerCase()} was expected; it was deleted`,
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

/** Faults of the connection; retrying would not help against those of the disk and of the file. */
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
  const message = `the disk is full; ${bytes} bytes are kept, free some space and add it again to resume`
  return new DownloadError(message, { cause: thrown })
}

/** Identifies a URL without storing the keys that its query may contain. */
function markOf(url: URL): string {
  return createHash('sha256').update(url.href).digest('hex')
}

/** fetch says "fetch failed" or "terminated"; the innermost cause says why. */
function connectionFault(thrown: unknown): string {
  let last = thrown
  while (last instanceof Error && last.cause instanceof Error) last = last.cause
  const detail = messageOf(last)
  return `the connection broke (${detail})`
}

function givenUp(start: URL, partial: Partial, reason: string, cause: unknown): DownloadError {
  const kept = partial.bytes > 0 ? `; ${partial.bytes} bytes are kept, add it again to resume` : ''
  return new DownloadError(`${shown(start)}: ${reason}${kept}`, { cause })
}
