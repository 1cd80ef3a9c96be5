import { type Progress, readableBytes } from '../library/progress.ts'

/** What of a stream is used: whether lines can be drawn over, and a place to write. */
interface ProgressStream {
  readonly isTTY?: boolean
  write(text: string): boolean
}

/** A bar that is drawn over itself on a terminal, a line for every tenth where the output is none. On stderr. */
export function progressOnTerminal(stream: ProgressStream = process.stderr): Progress {
  let drawn = 0
  let tenth = -1
  let current = ''
  const clear = () => {
    if (stream.isTTY) stream.write('\r\x1b[K')
  }
  return {
    update(label, done, total) {
      if (label !== current) {
        current = label
        tenth = -1
      }
      const part = total === undefined || total === 0 ? undefined : done / total
      const complete = part !== undefined && part >= 1
      if (stream.isTTY) {
        const now = performance.now()
        if (now - drawn < 100 && !complete) return
        drawn = now
        stream.write(`\r\x1b[K${barOf(part)} ${readableBytes(done)}${rest(total)}  ${label}`)
        if (complete) clear()
      } else if (part !== undefined && Math.floor(part * 10) > tenth) {
        tenth = Math.floor(part * 10)
        stream.write(`${label}: ${tenth * 10} %, ${readableBytes(done)}${rest(total)}\n`)
      }
    },
    note(text) {
      clear()
      stream.write(`${text}\n`)
    },
  }
}

function barOf(part: number | undefined): string {
  const width = 30
  const done = Math.round(Math.min(part ?? 0, 1) * width)
  const percent = part === undefined ? '' : ` ${Math.floor(part * 100)} %`
  return `[${'#'.repeat(done)}${'.'.repeat(width - done)}]${percent}`
}

function rest(total: number | undefined): string {
  return total === undefined ? '' : ` of ${readableBytes(total)}`
}
