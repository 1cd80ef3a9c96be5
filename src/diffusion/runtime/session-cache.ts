import type { Session } from './session.ts'

/**
 * Sessions by key, the least recently used released when their weights exceed the budget. A graph has fixed
 * shapes, so every picture size needs a session of its own, and each holds its weights in float32.
 */
export class SessionCache {
  readonly #budgetBytes: number
  readonly #entries = new Map<string, { session: Session; bytes: number }>()

  constructor(budgetBytes: number) {
    this.#budgetBytes = budgetBytes
  }

  /** Of the weights of all sessions that are held. */
  get bytes(): number {
    let held = 0
    for (const entry of this.#entries.values()) held += entry.bytes
    return held
  }

  /** Not for concurrent calls: a session may be released to make room for the next. */
  async get(key: string, countBytes: () => number, create: () => Promise<Session>): Promise<Session> {
    const known = this.#entries.get(key)
    if (known) {
      // a Map keeps insertion order: the first entry is the least recently used
      this.#entries.delete(key)
      this.#entries.set(key, known)
      return known.session
    }
    const bytes = countBytes()
    await this.#makeRoom(bytes)
    const session = await create()
    this.#entries.set(key, { session, bytes })
    return session
  }

  async release(): Promise<void> {
    for (const { session } of this.#entries.values()) await session.release()
    this.#entries.clear()
  }

  async #makeRoom(bytes: number): Promise<void> {
    let held = bytes + this.bytes
    for (const [key, entry] of this.#entries) {
      if (held <= this.#budgetBytes) return
      this.#entries.delete(key)
      held -= entry.bytes
      await entry.session.release()
    }
  }
}
