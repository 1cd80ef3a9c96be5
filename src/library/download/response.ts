import { addressName, DownloadError, dispositionName, shown } from './addresses.ts'
import type { Origin } from './partial.ts'

/** What a server says about the bytes that it sends, checked. */
export interface Reply {
  readonly origin: Origin
  /** Where in the whole file the body begins. */
  readonly begin: number
}

/** The request is worth retrying: the server is busy, or what it sends does not continue the stored bytes. */
export class TryAgain extends Error {
  readonly startOver: boolean
  readonly afterMs: number | undefined
  constructor(
    message: string,
    { startOver = false, afterMs }: { startOver?: boolean; afterMs?: number } = {},
  ) {
    super(message)
    this.startOver = startOver
    this.afterMs = afterMs
  }
}

/**
 * @param asked the offset from which the rest was requested
 * @param mark of the URL that the user gave, by which the partial file is recognised
 * @throws TryAgain, or DownloadError when retrying would not help
 */
export function readReply(
  response: Response,
  asked: number,
  mark: string,
  before: Origin | undefined,
): Reply {
  const { status, headers } = response
  const from = new URL(response.url)
  checkStatus(response, from, asked)
  const type = headers.get('content-type') ?? ''
  if (/^\s*(text\/html|application\/xhtml)/i.test(type)) throw webPage(from)
  const encoding = headers.get('content-encoding')
  if (encoding !== null && encoding !== 'identity') {
    throw new DownloadError(
      `${shown(from)}: the server sends the file compressed (${encoding}), although it was asked not to`,
    )
  }
  const range = status === 206 ? contentRange(headers, from) : undefined
  const begin = range?.begin ?? 0
  const length = count(headers.get('content-length'), 'Content-Length', from)
  const total = range === undefined ? length : range.total
  const etag = headers.get('etag')
  const lastModified = headers.get('last-modified')
  const origin: Origin = {
    mark,
    fileName: dispositionName(headers.get('content-disposition')) ?? addressName(from),
    ...(etag !== null && { etag }),
    ...(lastModified !== null && { lastModified }),
    ...(total !== undefined && { total }),
  }
  if (begin === 0) return { origin, begin }
  if (begin !== asked || (before !== undefined && !continues(before, origin))) {
    throw new TryAgain('the file changed on the server', { startOver: true })
  }
  return { origin, begin }
}

export function webPage(from: URL): DownloadError {
  return new DownloadError(
    `${shown(from)}: the server sent a web page instead of a file; it may require a login (--token), or that you accept its terms on its site`,
  )
}

function checkStatus({ status, headers }: Response, from: URL, asked: number): void {
  if (status === 200 || (status === 206 && asked > 0)) return
  if (status === 416) throw new TryAgain('the server cannot resume from this offset', { startOver: true })
  if (status === 408 || status === 429 || status >= 500) {
    const seconds = Number(headers.get('retry-after') ?? Number.NaN)
    const pause = Number.isFinite(seconds) ? { afterMs: seconds * 1000 } : {}
    throw new TryAgain(`the server answered ${status}`, pause)
  }
  const reasons: Record<number, string> = {
    401: 'the server requires a login: give --token, or set HF_TOKEN for Hugging Face',
    403: 'the server denies access: the token may not read it, or its terms must be accepted on the site first',
    404: 'the server has no such file',
    410: 'the file is no longer on the server',
  }
  throw new DownloadError(
    `${shown(from)}: ${reasons[status] ?? 'the server does not send the file'} (${status})`,
  )
}

function contentRange(headers: Headers, from: URL): { begin: number; total: number | undefined } {
  const match = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15}|\*)$/.exec(headers.get('content-range') ?? '')
  if (match === null) {
    throw new DownloadError(
      `${shown(from)}: the server sends a part of the file without a valid range (Content-Range: ${headers.get('content-range')})`,
    )
  }
  return { begin: Number(match[1]), total: match[3] === '*' ? undefined : Number(match[3]) }
}

function count(text: string | null, header: string, from: URL): number | undefined {
  if (text === null) return undefined
  if (/^\d{1,15}$/.test(text)) return Number(text)
  throw new DownloadError(
    `${shown(from)}: ${header} is ${JSON.stringify(text)}, which is not a number of bytes`,
  )
}

/** Whether two replies are about the same file; a fact that only one of them states does not count as a difference. */
function continues(before: Origin, now: Origin): boolean {
  const same = (a: unknown, b: unknown) => a === undefined || b === undefined || a === b
  return (
    same(before.etag, now.etag) &&
    same(before.lastModified, now.lastModified) &&
    same(before.total, now.total)
  )
}
