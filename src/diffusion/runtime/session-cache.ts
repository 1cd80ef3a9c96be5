import { MemoryError } from '../errors.ts'
import { Turns } from './turns.ts'

/** What the cache needs of a session. */
interface Releasable {
  release(): Promise<void>
}

/** A session that is not made yet. */
interface Planned<S> {
  /** Memory that it will hold while it runs. */
  readonly bytes: number
  readonly create: () => Promise<S>
}

/**
 * The sessions of all models under one memory budget, the least recently used released first. A graph has fixed shapes,
 * so every picture size has sessions of its own, each with weights and activations. An owner is a model in memory.
 */
export class SessionCache<S extends Releasable> {
  /** Whoever gets a session and runs it does so in one turn: the next may release it. */
  readonly turns = new Turns()
  readonly #budgetBytes: number
  /** By owner and key, the least recently used first: a Map keeps insertion order. */
  readonly #entries = new Map<string, { owner: object; session: S; bytes: number }>()
  readonly #ids = new Map<object, number>()
  #owners = 0

  constructor(budgetBytes: number) {
    this.#budgetBytes = budgetBytes
  }

  /** What it may hold. */
  get budgetBytes(): number {
    return this.#budgetBytes
  }

  /** Held for one owner, or for all. */
  bytes(owner?: object): number {
    let held = 0
    for (const entry of this.#entries.values()) {
      if (owner === undefined || entry.owner === owner) held += entry.bytes
    }
    return held
  }

  /**
   * The session with this key. To be used in a turn: a session may be released to make room for the next.
   * @throws MemoryError if the budget is too small even with all other sessions released
   */
  async get(owner: object, key: string, plan: () => Planned<S>): Promise<S> {
    const id = `${this.#idOf(owner)} ${key}`
    const known = this.#entries.get(id)
    if (known) {
      this.#entries.delete(id)
      this.#entries.set(id, known)
      return known.session
    }
    const { bytes, create } = plan()
    await this.makeRoom(bytes)
    const session = await create()
    this.#entries.set(id, { owner, session, bytes })
    return session
  }

  /** The session with this key if it is there, or if there is room for it beside all others; else undefined. */
  async getBeside(owner: object, key: string, plan: () => Planned<S>): Promise<S | undefined> {
    const known = this.#entries.has(`${this.#idOf(owner)} ${key}`)
    if (!known && this.bytes() + plan().bytes > this.#budgetBytes) return undefined
    return this.get(owner, key, plan)
  }

  /** Releases sessions until so many bytes are free. @throws MemoryError if the budget is too small even then */
  async makeRoom(bytes: number): Promise<void> {
    for (const id of this.#entries.keys()) {
      if (this.bytes() + bytes <= this.#budgetBytes) return
      await this.#release(id)
    }
    if (bytes > this.#budgetBytes) throw new MemoryError(bytes, this.#budgetBytes)
  }

  async release(owner: object): Promise<void> {
    this.#ids.delete(owner)
    for (const [id, entry] of this.#entries) if (entry.owner === owner) await this.#release(id)
  }

  async #release(id: string): Promise<void> {
    const entry = this.#entries.get(id)
    this.#entries.delete(id)
    await entry?.session.release()
  }

  #idOf(owner: object): number {
    const known = this.#ids.get(owner)
    if (known !== undefined) return known
    this.#owners += 1
    this.#ids.set(owner, this.#owners)
    return this.#owners
  }
}
