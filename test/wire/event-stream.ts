import { get, type IncomingMessage } from 'node:http'

interface StreamEvent {
  readonly event: string
  readonly data: Record<string, unknown>
}

export interface OpenStream {
  readonly answer: IncomingMessage
  /** Everything so far. */
  readonly text: string
  readonly ended: boolean
  events(): StreamEvent[]
}

/** A stream of server-sent events on a connection of its own. */
export async function openStream(url: string, headers: Record<string, string> = {}): Promise<OpenStream> {
  const answer = await new Promise<IncomingMessage>((resolve, reject) =>
    get(url, { headers, agent: false }, resolve).once('error', reject),
  )
  const stream = { answer, text: '', ended: false, events: () => eventsIn(stream.text) }
  answer.setEncoding('utf8').on('data', (text: string) => {
    stream.text += text
  })
  answer.once('close', () => {
    stream.ended = true
  })
  answer.on('error', () => {})
  return stream
}

function eventsIn(text: string): StreamEvent[] {
  return text.split('\n\n').flatMap((block) => {
    const [, event, data] = /event: (.+)\ndata: (.+)/.exec(block) ?? []
    return event === undefined || data === undefined ? [] : [{ event, data: JSON.parse(data) }]
  })
}
