import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import { type Cleanup, lastFirst } from '../cleanup.ts'
import { freePort } from '../services/free-port.ts'

/** A TCP proxy whose faults can be changed at any time. */
export interface FaultProxy {
  readonly host: '127.0.0.1'
  readonly port: number
  /** How many clients are connected now. */
  connections(): number
  /** How many clients were let in since the start. */
  accepted(): number
  /** How many bytes of clients got through since the start. */
  carried(): number
  /** Resets all connections of now; new ones go on as before. */
  cut(): void
  /** Resets all connections and closes the listener: new ones get ECONNREFUSED. */
  refuse(): Promise<void>
  /** Accepts again and ends every fault; connections that lost bytes in a black hole are reset. */
  pass(): Promise<void>
  /** Connections stay open and new ones are accepted, but no byte and no close gets through either way. */
  blackHole(): void
  /** Data arrives `ms` later, both ways; how much goes through in a second stays the same. */
  delay(ms: number): void
  /** For each connection and way. */
  throttle(bytesPerSecond: number): void
  /**
   * The next new connection is reset, both sides, once `bytes` bytes of its client got through; the proxy itself
   * goes back to what it did before. For half-written uploads.
   */
  cutAfter(bytes: number): void
  /**
   * The proxy answers instead of the target: each new connection gets `answer` after the client has sent something
   * and `quietMs` has passed without more from it, and is then closed. `answer` may be a whole HTTP response.
   */
  respond(answer: string | Uint8Array, quietMs?: number): void
}

interface Faults {
  blackHole: boolean
  delayMs: number
  bytesPerSecond: number
  answer: Uint8Array | undefined
  quietMs: number
}

const noFaults: Faults = {
  blackHole: false,
  delayMs: 0,
  bytesPerSecond: Number.POSITIVE_INFINITY,
  answer: undefined,
  quietMs: 0,
}

const slicesPerSecond = 20
const queueBytes = 1_048_576
const settleMs = 50

export async function startProxy(
  t: Cleanup,
  target: { readonly host: string; readonly port: number },
): Promise<FaultProxy> {
  const port = await freePort()
  const clients = new Set<Socket>()
  const sockets = new Set<Socket>()
  /** Those that lost bytes or a close in a black hole: what came after it would be garbage. */
  const broken = new Set<Socket>()
  let faults = noFaults
  let budgetOfNext = Number.POSITIVE_INFINITY
  let accepted = 0
  let carried = 0

  const track = (socket: Socket) => {
    sockets.add(socket)
    socket.setNoDelay(true)
    // a reset is what the proxy is for; each side learns of it by the close of the other
    socket.on('error', () => {})
    socket.once('close', () => {
      sockets.delete(socket)
      broken.delete(socket)
    })
  }

  const server = createServer({ allowHalfOpen: true }, (client) => {
    accepted += 1
    track(client)
    clients.add(client)
    client.once('close', () => clients.delete(client))
    if (faults.answer !== undefined) return answerInstead(client, faults.answer, faults.quietMs)
    const upstream = connect({ ...target, allowHalfOpen: true })
    track(upstream)
    const budget = budgetOfNext
    budgetOfNext = Number.POSITIVE_INFINITY
    const onSwallow = () => {
      broken.add(client).add(upstream)
    }
    const onCarried = (bytes: number) => {
      carried += bytes
    }
    carry(client, upstream, () => faults, budget, onSwallow, onCarried)
    carry(upstream, client, () => faults, Number.POSITIVE_INFINITY, onSwallow)
  })
  const listen = async () => {
    if (server.listening) return
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
  }
  const cut = () => {
    for (const socket of sockets) socket.resetAndDestroy()
  }
  const refuse = async () => {
    const closed = server.listening ? once(server, 'close') : undefined
    server.close()
    cut()
    await closed
  }
  await listen()
  lastFirst(t).after(refuse)
  return {
    host: '127.0.0.1',
    port,
    connections: () => clients.size,
    accepted: () => accepted,
    carried: () => carried,
    cut,
    refuse,
    pass: async () => {
      faults = noFaults
      budgetOfNext = Number.POSITIVE_INFINITY
      for (const socket of broken) socket.resetAndDestroy()
      await listen()
    },
    blackHole: () => {
      faults = { ...faults, blackHole: true }
    },
    delay: (ms) => {
      faults = { ...faults, delayMs: ms }
    },
    throttle: (bytesPerSecond) => {
      faults = { ...faults, bytesPerSecond }
    },
    cutAfter: (bytes) => {
      budgetOfNext = bytes
    },
    respond: (answer, quietMs = 30) => {
      faults = { ...faults, answer: Buffer.from(answer), quietMs }
    },
  }
}

/**
 * Forwards one direction, in order: each chunk is due `delayMs` after it arrived, and a throttled one is sent in
 * slices. At most `queueBytes` wait here; beyond that the sender is not read.
 */
function carry(
  from: Socket,
  to: Socket,
  faults: () => Faults,
  budget: number,
  onSwallow: () => void,
  onCarried: (bytes: number) => void = () => {},
): void {
  let left = budget
  let queued = 0
  let last = Promise.resolve()
  const deliver = async (data: Buffer, due: number) => {
    const early = due - performance.now()
    if (early > 0) await sleep(early)
    for (let at = 0; at < data.length && !to.destroyed && !from.errored; ) {
      const { bytesPerSecond } = faults()
      const size = Math.max(1, Math.min(data.length - at, left, Math.floor(bytesPerSecond / slicesPerSecond)))
      if (bytesPerSecond !== Number.POSITIVE_INFINITY) await sleep((size / bytesPerSecond) * 1000)
      if (faults().blackHole) return onSwallow()
      const slice = data.subarray(at, at + Math.min(size, left))
      at += size
      left -= slice.length
      if (slice.length > 0) await new Promise((resolve) => to.write(slice, resolve))
      onCarried(slice.length)
      if (left <= 0) {
        // a reset overtakes what the target has not read yet; one in this process reads in the turn after the pause
        await sleep(settleMs)
        await turn()
        await turn()
        from.resetAndDestroy()
        to.resetAndDestroy()
      }
    }
  }
  from.on('data', (data: Buffer) => {
    const due = performance.now() + faults().delayMs
    queued += data.length
    if (queued > queueBytes) from.pause()
    last = last.then(async () => {
      await deliver(data, due)
      queued -= data.length
      if (queued <= queueBytes) from.resume()
    })
  })
  from.on('end', () => {
    const due = performance.now() + faults().delayMs
    last = last.then(async () => {
      await sleep(Math.max(0, due - performance.now()))
      if (faults().blackHole) onSwallow()
      else to.end()
    })
  })
  from.on('close', (failed) => {
    if (!failed) return
    if (faults().blackHole) onSwallow()
    else to.resetAndDestroy()
  })
}

function answerInstead(client: Socket, answer: Uint8Array, quietMs: number): void {
  let timer: NodeJS.Timeout | undefined
  client.on('data', () => {
    clearTimeout(timer)
    timer = setTimeout(() => client.end(answer), quietMs)
  })
  client.on('end', () => client.end())
  client.on('close', () => clearTimeout(timer))
}
