import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { Transform, type TransformCallback } from 'node:stream'
import { AppError } from '../jobs/errors.ts'

/**
 * What the two directions of a connection may cost: a client that moves keeps its connection however large the body, one
 * that stands still or trickles loses it, and all of them together hold a bounded amount of memory.
 */
export interface TrafficLimits {
  /** How long nothing may move, in either direction. */
  readonly idleMs: number
  /** What must move on average, after `idleMs`. */
  readonly bytesPerSecond: number
  /** Memory for bodies that are incomplete and answers that are unread: beyond it the oldest of them is ended. */
  readonly bufferBytes: number
}

export const defaultTrafficLimits: TrafficLimits = {
  idleMs: 30_000,
  bytesPerSecond: 8 * 1024,
  bufferBytes: 256 * 2 ** 20,
}

/** What is read and thrown away of a body that was answered before its end. */
const mostDiscarded = 128 * 2 ** 20
const longestDiscardMs = 120_000

/** Whether a transfer has been too slow. Fed with the bytes so far; times are in milliseconds. */
function paceOf({ idleMs, bytesPerSecond }: TrafficLimits) {
  const began = performance.now()
  let last = { bytes: 0, at: began }
  return (bytes: number): boolean => {
    const now = performance.now()
    if (bytes > last.bytes) last = { bytes, at: now }
    return now - last.at > idleMs || now - began > idleMs + (bytes / bytesPerSecond) * 1000
  }
}

interface Transfer {
  /** Bytes in memory. */
  held(): number
  isTooSlow(): boolean
  end(why: 'slow' | 'memory'): void
}

export interface Traffic {
  /** The body as it comes. It fails with `too_slow`, or `unavailable` when memory is short. */
  meter(body: IncomingMessage): Transform
  /**
   * Ends the connection if its client does not read the answer. `open`: an answer that goes on for as long as something
   * happens; there may be nothing to send for any time, but what there is must be read at the same pace.
   */
  watchAnswer(request: IncomingMessage, answer: ServerResponse, kind?: 'open'): void
  /**
   * For an answer that is sent before the body was read (RFC 9112, section 9.6): closing at once would reset the
   * connection, and a client that is still sending could not read the answer. Reads on, within limits.
   */
  discardRest(request: IncomingMessage, answer: ServerResponse): void
}

/** Looks at all transfers a few times in `idleMs`. It ends with the server. */
export function watchTraffic(server: Server, limits: TrafficLimits): Traffic {
  const transfers = new Set<Transfer>()
  const meters = new WeakMap<IncomingMessage, Meter>()
  const endSlow = () => {
    for (const each of [...transfers]) if (each.isTooSlow()) each.end('slow')
  }
  const endOldest = () => {
    let excess = -limits.bufferBytes
    for (const each of transfers) excess += each.held()
    for (const each of [...transfers]) {
      if (excess <= 0) return
      const held = each.held()
      if (held === 0) continue
      excess -= held
      each.end('memory')
    }
  }
  const timer = setInterval(
    () => {
      endSlow()
      endOldest()
    },
    Math.max(50, limits.idleMs / 20),
  ).unref()
  server.once('close', () => clearInterval(timer))

  return {
    meter(body) {
      let checked = 0
      const meter = new Meter(() => {
        if (meter.bytes - checked < 2 ** 20) return
        checked = meter.bytes
        endOldest()
      })
      const isTooSlow = paceOf(limits)
      const transfer: Transfer = {
        held: () => meter.bytes,
        isTooSlow: () => isTooSlow(meter.bytes),
        end: (why) => meter.destroy(why === 'slow' ? tooSlow(limits) : tooMuch()),
      }
      transfers.add(transfer)
      meters.set(body, meter)
      meter.once('close', () => transfers.delete(transfer))
      // nobody listens while a request waits for its route, or after it was answered
      meter.on('error', () => {})
      body.once('error', (error) => meter.destroy(error))
      body.once('close', () => body.complete || meter.destroy(new Error('aborted')))
      return body.pipe(meter)
    },
    watchAnswer(request, answer, kind) {
      const { socket } = request
      const transfer = answering(socket, answer, limits, kind === 'open')
      transfers.add(transfer)
      if (transfer.held() > 0) endOldest()
      answer.once('close', () => transfers.delete(transfer))
    },
    discardRest(request, answer) {
      const { socket } = request
      const closes = !answer.shouldKeepAlive
      answer.shouldKeepAlive = true
      const before = socket.bytesRead
      const began = performance.now()
      const isTooSlow = paceOf(limits)
      const read = () => socket.bytesRead - before
      const transfer: Transfer = {
        held: () => 0,
        isTooSlow: () =>
          read() > mostDiscarded || performance.now() - began > longestDiscardMs || isTooSlow(read()),
        end: () => socket.destroySoon(),
      }
      const over = () => {
        transfers.delete(transfer)
        if (closes) socket.destroySoon()
      }
      socket.once('close', over)
      answer.once('finish', () => {
        if (request.complete) return over()
        transfers.add(transfer)
        request.once('end', over)
        request.unpipe()
        meters.get(request)?.destroy()
        request.resume()
      })
    },
  }
}

class Meter extends Transform {
  bytes = 0
  readonly #onBytes: () => void
  constructor(onBytes: () => void) {
    super()
    this.#onBytes = onBytes
  }
  override _transform(chunk: Buffer, _encoding: string, done: TransformCallback): void {
    this.bytes += chunk.length
    this.#onBytes()
    done(null, chunk)
  }
}

/** The kernel takes the first bytes of an answer whether they are read or not; the rest waits in the socket's queue. */
function answering(socket: Socket, answer: ServerResponse, limits: TrafficLimits, open: boolean): Transfer {
  const waiting = () => answer.writableLength
  let before = socket.bytesWritten
  let isTooSlow = paceOf(limits)
  return {
    held: waiting,
    isTooSlow() {
      if (open && waiting() === 0) {
        before = socket.bytesWritten
        isTooSlow = paceOf(limits)
      }
      return isTooSlow(socket.bytesWritten - before - socket.writableLength)
    },
    end: () => socket.destroy(),
  }
}

function tooSlow({ idleMs, bytesPerSecond }: TrafficLimits): AppError {
  const message = `The body came too slowly: nothing for ${idleMs / 1000} seconds, or on average less than ${bytesPerSecond / 1024} KiB per second.`
  return new AppError('too_slow', message, { param: 'body' })
}

function tooMuch(): AppError {
  return new AppError('unavailable', 'Too many bodies are being received at this moment.')
}
