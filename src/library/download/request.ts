import { checkAddress, DownloadError, decoded, shown } from './addresses.ts'

const maxRedirects = 10

interface RequestOptions {
  readonly token?: string | undefined
  /** With a hash from elsewhere, plain http is enough. */
  readonly hasHash: boolean
  readonly headers?: Readonly<Record<string, string>>
  readonly signal: AbortSignal
}

/**
 * Follows redirects itself, so that each URL is checked and the token goes to one host only. A user and a password in a
 * URL are sent to its own host, in a header, as other programs do.
 */
export async function request(start: URL, options: RequestOptions): Promise<Response> {
  const { token, hasHash, signal } = options
  let url = start
  for (let redirects = 0; redirects <= maxRedirects; redirects += 1) {
    checkAddress(url, start, hasHash)
    const headers = new Headers({ ...options.headers, 'user-agent': 'packshot' })
    const login = loginOf(url)
    if (token !== undefined && url.origin === start.origin) headers.set('authorization', `Bearer ${token}`)
    else if (login !== undefined) headers.set('authorization', login)
    // fetch refuses a URL with a login in it, and its message repeats it
    const response = await fetch(withoutLogin(url), { headers, redirect: 'manual', signal })
    const location = response.headers.get('location')
    if (![301, 302, 303, 307, 308].includes(response.status) || location === null) return response
    await response.body?.cancel()
    if (!URL.canParse(location, url.href)) {
      throw new DownloadError(`${shown(url)}: the server redirects to something that is not a valid URL`)
    }
    url = new URL(location, url)
  }
  throw new DownloadError(`${shown(start)}: the server redirects more than ${maxRedirects} times`)
}

/** https://www.rfc-editor.org/rfc/rfc7617 */
function loginOf({ username, password }: URL): string | undefined {
  if (username === '' && password === '') return undefined
  const pair = `${decoded(username)}:${decoded(password)}`
  return `Basic ${Buffer.from(pair).toString('base64')}`
}

function withoutLogin(url: URL): string {
  const plain = new URL(url)
  plain.username = ''
  plain.password = ''
  return plain.href
}
