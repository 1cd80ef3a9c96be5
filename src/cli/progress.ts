import { type DownloadProgress, readableBytes } from '../library/progress.ts'

/** The part of a stream that is used. */
interface ProgressStream {
  readonly isTTY?: boolean
  write(text: string): boolean
}

const firstOfLine = '\r\x1b[K'
const redrawMs = 100

/** A progress bar on one line of a terminal, which it overwrites; draws nothing if the output is not a terminal. */
export function progressBar(stream: ProgressStream = process.stderr) {
  // the clock begins with the process: the first draw may come before redrawMs
  let drawn = Number.NEGATIVE_INFINITY
  const clear = () => {
    if (stream.isTTY) stream.write(firstOfLine)
  }
  return {
    /** @param part 0 to 1; undefined while the total is unknown. At 1 the bar disappears. */
    draw(part: number | undefined, text: string): void {
      const complete = part !== undefined && part >= 1
      const now = performance.now()
      if (!stream.isTTY || (now - drawn < redrawMs && !complete)) return
      drawn = now
      if (complete) clear()
      else stream.write(`${firstOfLine}${barOf(part)} ${text}`)
    },
    clear,
  }
}

/** Reports downloads on stderr: a bar on a terminal, elsewhere a line every 10 %. */
export function progressOnTerminal(stream: ProgressStream = process.stderr): DownloadProgress {
  const bar = progressBar(stream)
  let tenth = -1
  let current = ''
  return {
    update(label, done, total) {
      if (label !== current) {
        current = label
        tenth = -1
      }
      const part = total === undefined || total === 0 ? undefined : done / total
      const amount = `${readableBytes(done)}${total === undefined ? '' : ` of ${readableBytes(total)}`}`
      bar.draw(part, `${amount}  ${label}`)
      if (!stream.isTTY && part !== undefined && Math.floor(part * 10) > tenth) {
        tenth = Math.floor(part * 10)
        stream.write(`${label}: ${tenth * 10} %, ${amount}\n`)
      }
    },
    note(text) {
      bar.clear()
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
