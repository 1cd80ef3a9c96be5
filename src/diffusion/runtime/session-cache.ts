import { MemoryError } from '../errors.ts'

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
  readonly #budgetBytes: number
  /** By owner and key, the least recently used first: a Map keeps insertion order. */
  readonly #entries = new Map<string, { owner: object; session: S; bytes: number }>()
  /** What owners hold besides sessions. */
  readonly #besides = new Map<object, number>()
  readonly #ids = new Map<object, number>()
  #owners = 0

  constructor(budgetBytes: number) {
    this.#budgetBytes = budgetBytes
  }

  /** Held for one owner, or for all. */
  bytes(owner?: object): number {
    let held = 0
    for (const entry of this.#entries.values()) if (isOf(entry.owner, owner)) held += entry.bytes
    for (const [each, bytes] of this.#besides) if (isOf(each, owner)) held += bytes
    return held
  }

  /**
   * The session with this key. Not for concurrent calls: a session may be released to make room for the next.
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
    await this.#makeRoom(bytes)
    const session = await create()
    this.#entries.set(id, { owner, session, bytes })
    return session
  }

  /** From now on the owner holds so many bytes besides its sessions, for which room is made. @throws MemoryError */
  async hold(owner: object, bytes: number): Promise<void> {
    this.#besides.delete(owner)
    await this.#makeRoom(bytes)
    if (bytes > 0) this.#besides.set(owner, bytes)
  }

  async release(owner: object): Promise<void> {
    this.#besides.delete(owner)
    this.#ids.delete(owner)
    for (const [id, entry] of this.#entries) if (entry.owner === owner) await this.#release(id)
  }

  async #makeRoom(wanted: number): Promise<void> {
    for (const id of this.#entries.keys()) {
      if (this.bytes() + wanted <= this.#budgetBytes) return
      await this.#release(id)
    }
    const held = this.bytes() + wanted
    if (held > this.#budgetBytes) throw new MemoryError(held, this.#budgetBytes)
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

function isOf(each: object, owner: object | undefined): boolean {
  return owner === undefined || each === owner
}
