/** The result of `action`, or that of `late` once `ms` have passed; the action itself continues, its result ignored. */
export function orAfter<T>(ms: number, action: Promise<T>, late: () => T): Promise<T> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, ms)
  return Promise.race([action, promise.then(late)]).finally(() => clearTimeout(timer))
}
