import { connect } from 'node:net'

/** Probes: each resolves to true once the service speaks its protocol, to false otherwise, and never rejects. */

/** The server answers the protocol header with a method frame, that is Connection.Start. */
export function speaksAmqp(port: number): Promise<boolean> {
  return exchange(port, 'AMQP\0\0\x09\x01', (answer) => answer[0] === 1)
}

export function speaksRedis(port: number): Promise<boolean> {
  return exchange(port, 'PING\r\n', (answer) => answer.toString('latin1') === '+PONG\r\n')
}

/** Any status of 499 or less: some S3 servers let strangers list, some do not. */
export async function speaksHttp(endpoint: string): Promise<boolean> {
  try {
    const response = await fetch(endpoint, { signal: AbortSignal.timeout(2000) })
    await response.arrayBuffer()
    return response.status < 500
  } catch {
    return false
  }
}

function exchange(port: number, words: string, isRight: (answer: Buffer) => boolean): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(words, 'latin1'))
    socket.setTimeout(5000, () => socket.destroy())
    // the close that follows gives the answer
    socket.on('error', () => {})
    socket.on('close', () => resolve(false))
    socket.once('data', (answer) => {
      resolve(isRight(answer))
      socket.destroy()
    })
  })
}
