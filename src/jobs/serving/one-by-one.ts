import { AppError } from '../errors.ts'

/** What waits at most under one name. */
const mostWaiting = 64

/** Runs actions with the same name one after another, in the order of the calls. Rejects `unavailable` if too many wait. */
export function oneByOne(): <T>(name: string, action: () => Promise<T>) => Promise<T> {
  const lines = new Map<string, { waiting: number; tail: Promise<unknown> }>()
  return async (name, action) => {
    const line = lines.get(name) ?? { waiting: 0, tail: Promise.resolve() }
    if (line.waiting >= mostWaiting)
      throw new AppError(
        'unavailable',
        `${mostWaiting} of these calls wait already: send them one after another.`,
      )
    lines.set(name, line)
    line.waiting += 1
    const turn = line.tail.then(action)
    // its own caller gets the error; the next one only waits for the end
    line.tail = turn.catch(() => {})
    try {
      return await turn
    } finally {
      line.waiting -= 1
      if (line.waiting === 0) lines.delete(name)
    }
  }
}
