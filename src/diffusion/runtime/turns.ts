/**
 * Lets one user at a time have something, in the order in which they came. A turn must not wait for another turn of the
 * same kind.
 */
export class Turns {
  #last: Promise<unknown> = Promise.resolve()
  #waiting = 0

  /** Calls `use` when all before it have settled. Settles as it does. */
  take<T>(use: () => Promise<T>): Promise<T> {
    this.#waiting += 1
    const mine = this.#last.then(use).finally(() => {
      this.#waiting -= 1
    })
    // whoever took the turn is told
    this.#last = mine.catch(() => {})
    return mine
  }

  /** Resolves when nobody has a turn or waits for one. */
  async idle(): Promise<void> {
    while (this.#waiting > 0) await this.#last
  }
}
