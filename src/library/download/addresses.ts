/** Which addresses a download may use, and what the files behind them are called. */

/** A download that cannot be made, or was not what it said; the message is for the person who asked for it. */
export class DownloadError extends Error {
  override readonly name = 'DownloadError'
}

/**
 * Plain HTTP can be changed on its way, so it is for this machine, or with a hash that is known from elsewhere.
 * @throws DownloadError naming the address and the reason
 */
export function checkAddress(url: URL, start: URL, hasHash: boolean): void {
  const via = url.href === start.href ? '' : ` (reached from ${shown(start)})`
  if (url.protocol !== 'https:' && url.protocol !== 'http:') {
    throw new DownloadError(`${shown(url)}${via}: only https and http addresses can be downloaded`)
  }
  if (url.protocol === 'https:') return
  if (start.protocol === 'https:') {
    throw new DownloadError(`${shown(url)}${via}: a redirect from https to http is refused`)
  }
  if (isLoopback(url) || hasHash) return
  throw new DownloadError(
    `${shown(url)}${via}: over http the file can be changed on its way; use https, or name its hash with --sha256`,
  )
}

function isLoopback({ hostname }: URL): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d{1,3}){3}$/.test(hostname)
}

/** An address as it may be printed and kept: keys in its query or its user part are left out. */
export function shown(url: URL): string {
  return `${url.protocol}//${url.host}${url.pathname}`
}

/** The file name of a Content-Disposition header, https://www.rfc-editor.org/rfc/rfc6266. Not safe as it is. */
export function dispositionName(header: string | null): string | undefined {
  if (header === null) return undefined
  const extended = /filename\*\s*=\s*utf-8'[^']*'([^;\s]+)/i.exec(header)?.[1]
  if (extended !== undefined) return decoded(extended)
  const plain = /filename\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s]+))/i.exec(header)
  return plain?.[1]?.replaceAll(/\\(.)/g, '$1') ?? plain?.[2]
}

/** The last part of an address that is not empty. */
export function addressName(url: URL): string {
  return decoded(url.pathname.split('/').findLast((part) => part !== '') ?? url.hostname)
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    // a percent sign that begins no code is a part of the name
    return text
  }
}
