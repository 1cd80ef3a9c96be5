/** Which URLs a download may use, and the names of the files behind them. */

/** A download that failed, or was not the expected file; the message is for the user. */
export class DownloadError extends Error {
  override readonly name = 'DownloadError'
}

/**
 * Plain HTTP can be tampered with, so it is allowed from this machine, or with a hash that is known from elsewhere.
 * @throws DownloadError naming the URL and the reason
 */
export function checkAddress(url: URL, start: URL, hasHash: boolean): void {
  const via = url.href === start.href ? '' : ` (reached from ${shown(start)})`
  if (url.protocol !== 'https:' && url.protocol !== 'http:') {
    throw new DownloadError(`${shown(url)}${via}: only https and http URLs can be downloaded`)
  }
  if (url.protocol === 'https:') return
  if (start.protocol === 'https:') {
    throw new DownloadError(`${shown(url)}${via}: a redirect from https to http is refused`)
  }
  if (isLoopback(url) || hasHash) return
  throw new DownloadError(
    `${shown(url)}${via}: a file sent over http can be tampered with; use https, or give its hash with --sha256`,
  )
}

function isLoopback({ hostname }: URL): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d{1,3}){3}$/.test(hostname)
}

/** @throws DownloadError, which repeats neither a login nor a query */
export function parseAddress(text: string): URL {
  if (URL.canParse(text)) return new URL(text)
  const safe = text.replace(/\/\/.*@/u, '//...@').replace(/[?#].*$/su, '')
  throw new DownloadError(`${JSON.stringify(safe)} is not a valid URL`)
}

/** A URL without its query and its user part, which may contain keys: safe to print and to store. */
export function shown(url: URL): string {
  return `${url.protocol}//${url.host}${url.pathname}`
}

/** The file name of a Content-Disposition header, https://www.rfc-editor.org/rfc/rfc6266. Not a safe path. */
export function dispositionName(header: string | null): string | undefined {
  if (header === null) return undefined
  const extended = /filename\*\s*=\s*utf-8'[^']*'([^;\s]+)/i.exec(header)?.[1]
  if (extended !== undefined) return decoded(extended)
  const plain = /filename\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s]+))/i.exec(header)
  return plain?.[1]?.replaceAll(/\\(.)/g, '$1') ?? plain?.[2]
}

/** The last part of a URL that is not empty. */
export function addressName(url: URL): string {
  return decoded(url.pathname.split('/').findLast((part) => part !== '') ?? url.hostname)
}

/** Percent signs that start no escape are kept. */
export function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    // a percent sign that starts no escape is part of the name
    return text
  }
}
