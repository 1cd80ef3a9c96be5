import { constants, fstatSync, openSync, type Stats, writeSync } from 'node:fs'
import { Socket } from 'node:net'

/** A standard stream of this process that is no part of its work: writing to it never throws and never waits. */
export interface LogOutput {
  /** Writes whole lines. What the system does not take now waits in memory; beyond a limit it is dropped and counted. */
  write(lines: string): void
  /** Waits a moment for a slow reader. For the last lines of a process. */
  flushSync(): void
}

const maxWaitingBytes = 2 ** 20
const retryMs = 50
const flushMs = 300

/**
 * Opens stdout (1) or stderr (2). Lines that the system takes are with it when `write` returns, so a process that then
 * kills itself loses none. Once a stream works again, the line that `notice` makes is written first.
 */
export function openLogOutput(
  fd: 1 | 2,
  notice: (lost: number, reason: string) => string = (lost, reason) =>
    `${lost} lines were lost (${reason}).\n`,
): LogOutput {
  const stream = withoutWaiting(fd)
  const waiting: Buffer[] = []
  let lost = 0
  let reason = ''
  /** The first that waits is partly written. */
  let begun = false
  /** The last line of the stream has no end. */
  let cut = false
  let timer: NodeJS.Timeout | undefined

  /** Writes until nothing is left or the system takes no more. Returns false if the stream failed: all is lost. */
  const pump = (): boolean => {
    try {
      if (cut) writeSync(stream.fd, '\n')
      cut = false
      for (let next = waiting[0]; next !== undefined; next = waiting[0]) {
        const written = writeSync(stream.fd, next)
        begun = written < next.length
        if (begun) waiting[0] = next.subarray(written)
        else waiting.shift()
      }
    } catch (thrown) {
      const code = thrown instanceof Error && 'code' in thrown ? String(thrown.code) : String(thrown)
      if (code === 'EAGAIN') return true
      lost += waiting.splice(0).length
      reason = code
      cut ||= begun
      begun = false
      return false
    }
    return true
  }
  const tellLoss = () => {
    if (lost === 0 || waiting.length > 0) return
    const told = lost
    lost = 0
    waiting.push(Buffer.from(notice(told, reason)))
    if (!pump()) lost = told
  }
  const retryLater = () => {
    if (waiting.length === 0 || timer !== undefined) return
    timer = setTimeout(() => {
      timer = undefined
      pump()
      tellLoss()
      retryLater()
    }, retryMs).unref()
  }
  const flushSync = () => {
    const end = performance.now() + flushMs
    while (pump() && waiting.length > 0 && performance.now() < end) {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10)
    }
  }
  process.once('exit', flushSync)
  return {
    write(lines) {
      tellLoss()
      const bytes = Buffer.from(lines)
      if (waiting.reduce((sum, { length }) => sum + length, bytes.length) > maxWaitingBytes) {
        lost += 1
        reason = 'its reader stands still'
      } else {
        waiting.push(bytes)
        pump()
      }
      retryLater()
    },
    flushSync,
  }
}

/**
 * A descriptor for the same stream whose writes fail with EAGAIN instead of waiting for a reader. It is opened anew if
 * possible, because the flag O_NONBLOCK would apply to every other process with the same stream, such as npm. A regular
 * file has no reader: its writes wait for the disk only.
 */
function withoutWaiting(fd: 1 | 2): { readonly fd: number; readonly keep?: Socket } {
  const kind = kindOf(fd)
  if (kind === undefined || kind.isFile() || process.platform === 'win32') return { fd }
  try {
    const { O_WRONLY, O_NONBLOCK, O_NOCTTY } = constants
    if (process.platform === 'linux')
      return { fd: openSync(`/proc/self/fd/${fd}`, O_WRONLY | O_NONBLOCK | O_NOCTTY) }
  } catch {
    // a socket, or opened by another user
  }
  if (!kind.isFIFO() && !kind.isSocket()) return { fd }
  // it sets the flag; collected as garbage it would close the descriptor
  return { fd, keep: new Socket({ fd, readable: false }).unref() }
}

function kindOf(fd: number): Stats | undefined {
  try {
    return fstatSync(fd)
  } catch {
    return undefined
  }
}
