import { AppError, type Fault } from '../errors.ts'

/** As many are shown; a list with more is wrong as a whole. */
const mostShown = 100
/** In the sentence of the error. */
const mostSaid = 3

/** Collects the faults of a list: the first of them, and how many there are. */
export interface FaultList {
  note(fault: Fault): void
  readonly count: number
  /** Throws `invalid_request` if there are any. */
  check(): void
}

export function faultList(): FaultList {
  const shown: Fault[] = []
  let count = 0
  return {
    note(fault) {
      count += 1
      if (shown.length < mostShown) shown.push(fault)
    },
    get count() {
      return count
    },
    check() {
      const [first] = shown
      if (first === undefined) return
      const said = shown.slice(0, mostSaid).map((fault) => fault.message)
      const more = count > said.length ? ` And ${count - said.length} more.` : ''
      throw new AppError('invalid_request', `${said.join(' ')}${more}`, {
        param: first.param,
        faults: shown,
        faultCount: count,
      })
    },
  }
}
