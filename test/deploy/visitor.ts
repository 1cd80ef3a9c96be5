import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from 'node:http2'
import { type ConnectionOptions, connect as connectTls } from 'node:tls'
import { type Front, proxyName } from './proxies.ts'

/** A browser as a proxy sees it: one HTTP/2 connection over TLS, opened again when the proxy asks for that. */
export interface Visitor {
  /** Rejects when there is no answer. `path` begins with a slash. */
  ask(method: string, path: string, options?: AskOptions): Promise<VisitorAnswer>
  /** Resolves with the head of the answer; its body is read with `text` and `ended`. */
  follow(path: string, headers?: Record<string, string>): Promise<Following>
  close(): void
}

interface AskOptions {
  readonly headers?: Record<string, string>
  /** An object is sent as JSON. */
  readonly body?: object | Uint8Array
}

interface VisitorAnswer {
  readonly status: number
  /** A header that came twice has both values, with a comma between. */
  readonly headers: Readonly<Record<string, unknown>>
  readonly rawHeaders: readonly string[]
  readonly body: Buffer
  json<Body>(): Body
}

interface Following {
  readonly status: number
  readonly text: () => string
  readonly isEnded: () => boolean
}

type Closing = ClientHttp2Session & { lastServed?: number }

/** From an address of this machine, such as 127.0.0.9. */
export function visitor(proxy: Front, localAddress = '127.0.0.2'): Visitor {
  let session: Closing | undefined
  const current = (): Closing => {
    if (session !== undefined && !session.closed && !session.destroyed) return session
    const port = proxy.httpsPort
    const opened: Closing = connect(`https://${proxyName}:${port}`, {
      // MB: bodies wait in it
      maxSessionMemory: 100,
      createConnection: () =>
        connectTls({
          host: '127.0.0.1',
          port,
          localAddress,
          servername: proxyName,
          ca: proxy.authority,
          ALPNProtocols: ['h2'],
        } as ConnectionOptions),
    })
    opened.on('error', () => {})
    opened.on('goaway', (_code, lastServed: number) => {
      opened.lastServed = lastServed
    })
    session = opened
    return opened
  }

  /** @param onStream called before anything can arrive: what is not read by the time its connection ends is lost */
  async function begin(
    method: string,
    path: string,
    { headers, body }: AskOptions,
    onStream: (stream: ClientHttp2Stream) => void = () => {},
  ) {
    const isBytes = body instanceof Uint8Array
    const sent = body === undefined || isBytes ? body : Buffer.from(JSON.stringify(body))
    const type = body === undefined ? {} : { 'content-type': isBytes ? 'image/png' : 'application/json' }
    for (;;) {
      const on = current()
      try {
        const head = { ':method': method, ':path': path, ':authority': `${proxyName}:${proxy.httpsPort}` }
        const stream = on.request({ ...head, ...type, ...headers }, { endStream: sent === undefined })
        onStream(stream)
        if (sent !== undefined) stream.end(sent)
        return { stream, ...(await answered(stream)) }
      } catch (thrown) {
        if (!wasNotServed(on, thrown)) throw thrown
        if (session === on) session = undefined
      }
    }
  }

  return {
    async ask(method, path, options = {}) {
      let read: Promise<Buffer> | undefined
      const { status, headers, rawHeaders } = await begin(method, path, options, (stream) => {
        read = bodyOf(stream)
        // of one that is sent again
        read.catch(() => {})
      })
      const body = (await read) ?? Buffer.alloc(0)
      return { status, headers, rawHeaders, body, json: () => JSON.parse(body.toString()) }
    },
    async follow(path, headers = {}) {
      const { stream, status } = await begin('GET', path, { headers })
      let [text, ended] = ['', false]
      stream.setEncoding('utf8').on('data', (part: string) => {
        text += part
      })
      stream.on('error', () => {})
      stream.once('close', () => {
        ended = true
      })
      return { status, text: () => text, isEnded: () => ended }
    },
    close: () => session?.destroy(),
  }
}

function bodyOf(stream: ClientHttp2Stream): Promise<Buffer> {
  const chunks: Buffer[] = []
  return new Promise((resolve, reject) => {
    stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    stream.once('error', reject)
    let isWhole = false
    stream.once('end', () => {
      isWhole = true
    })
    stream.once('close', () => {
      if (isWhole && stream.rstCode === constants.NGHTTP2_NO_ERROR) resolve(Buffer.concat(chunks))
      else reject(new Error(`cut off with code ${stream.rstCode} after ${chunks.length} parts`))
    })
  })
}

function answered(stream: ClientHttp2Stream) {
  return new Promise<{ status: number; headers: Record<string, unknown>; rawHeaders: string[] }>(
    (resolve, reject) => {
      stream.once('response', (headers, _flags, rawHeaders: string[]) =>
        resolve({ status: Number(headers[':status']), headers: { ...headers }, rawHeaders }),
      )
      stream.once('error', reject)
      stream.once('close', () => reject(Object.assign(new Error('no answer'), { stream: stream.id })))
    },
  )
}

/**
 * Whether the proxy has said that it did not look at the request (RFC 9113, sections 6.8 and 8.7): every browser sends it
 * again then, whatever its method.
 */
function wasNotServed(session: Closing, thrown: unknown): boolean {
  const { code, message, stream } = thrown as { code?: string; message?: string; stream?: number }
  if (code === 'ERR_HTTP2_INVALID_SESSION' || code === 'ERR_HTTP2_GOAWAY_SESSION') return true
  if (message?.includes('NGHTTP2_REFUSED_STREAM') === true) return true
  return session.lastServed !== undefined && stream !== undefined && stream > session.lastServed
}
