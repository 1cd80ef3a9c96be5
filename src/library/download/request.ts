import { checkAddress, DownloadError, shown } from './addresses.ts'
import type { Partial } from './partial.ts'

const maxRedirects = 10

interface RequestOptions {
  readonly token?: string | undefined
  readonly sha256?: string | undefined
}

/** Follows redirects itself, so that each URL is checked and the token goes to one host only. */
export async function request(
  { token, sha256 }: RequestOptions,
  start: URL,
  partial: Partial,
  signal: AbortSignal,
): Promise<Response> {
  let url = start
  for (let redirects = 0; redirects <= maxRedirects; redirects += 1) {
    checkAddress(url, start, sha256 !== undefined)
    const headers = new Headers({ 'accept-encoding': 'identity', 'user-agent': 'packshot' })
    if (token !== undefined && url.origin === start.origin) headers.set('authorization', `Bearer ${token}`)
    const { bytes, origin } = partial
    if (bytes > 0 && origin !== undefined) {
      headers.set('range', `bytes=${bytes}-`)
      // a weak ETag does not promise the same bytes, so servers must not resume by it
      const strong = origin.etag?.startsWith('W/') ? undefined : origin.etag
      const mark = strong ?? origin.lastModified
      if (mark !== undefined) headers.set('if-range', mark)
    }
    const response = await fetch(url.href, { headers, redirect: 'manual', signal })
    const location = response.headers.get('location')
    if (![301, 302, 303, 307, 308].includes(response.status) || location === null) return response
    await response.body?.cancel()
    if (!URL.canParse(location, url.href)) {
      throw new DownloadError(
        `${shown(url)}: the server redirects to ${JSON.stringify(location)}, which is not a valid URL`,
      )
    }
    url = new URL(location, url)
  }
  throw new DownloadError(`${shown(start)}: the server redirects more than ${maxRedirects} times`)
}
