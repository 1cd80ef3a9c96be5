import { Turns } from '../diffusion/runtime/turns.ts'

/** What the pool needs of an engine. */
export interface PooledEngine {
  /** Memory that it holds, approximately. */
  readonly bytes: number
  close(): Promise<void>
}

/** What to load. Two choices with the same key are the same engine. */
export interface EngineChoice {
  /** Shown to people. */
  readonly name: string
  readonly key: string
  /** Changes when its files change: it is then loaded again. */
  readonly stamp: string
}

interface Loaded<C, E> {
  readonly choice: C
  readonly engine: E
  /** Those who use it at this moment. */
  users: number
}

export interface PoolOptions<C extends EngineChoice, E extends PooledEngine> {
  readonly open: (choice: C) => Promise<E>
  /** Called whenever an engine was loaded or released. */
  readonly onChange?: () => void
}

/**
 * Engines loaded on demand. Their memory is one budget, which the cache of their sessions keeps; the pool closes those
 * that lost all of it, and none while it is used.
 */
export class EnginePool<C extends EngineChoice, E extends PooledEngine> {
  readonly #options: PoolOptions<C, E>
  /** The least recently used first: a Map keeps the order of insertion. */
  readonly #loaded = new Map<string, Loaded<C, E>>()
  /** One is opened or closed at a time, so that none is opened twice. */
  readonly #changes = new Turns()

  constructor(options: PoolOptions<C, E>) {
    this.#options = options
  }

  /** Calls `work` with the engine, and afterwards closes those whose memory others took. Rejects as `open` and `work` do. */
  async use<T>(choice: C, work: (engine: E) => Promise<T>): Promise<T> {
    const entry = await this.#changes.take(() => this.#enter(choice))
    try {
      return await work(entry.engine)
    } finally {
      await this.#changes.take(() => this.#leave(entry))
    }
  }

  async #enter(choice: C): Promise<Loaded<C, E>> {
    const known = this.#loaded.get(choice.key)
    if (known?.choice.stamp === choice.stamp) {
      this.#loaded.delete(choice.key)
      this.#loaded.set(choice.key, known)
      known.users += 1
      return known
    }
    if (known !== undefined) await this.#close(choice.key)
    const entry = { choice, engine: await this.#options.open(choice), users: 1 }
    this.#loaded.set(choice.key, entry)
    this.#options.onChange?.()
    return entry
  }

  async #leave(entry: Loaded<C, E>): Promise<void> {
    entry.users -= 1
    // its files changed while it was used
    if (entry.users === 0 && this.#loaded.get(entry.choice.key) !== entry) await entry.engine.close()
    for (const [key, { engine, users }] of this.#loaded) {
      if (users === 0 && engine.bytes === 0) await this.#close(key)
    }
  }

  /** Names of the loaded engines, the most recently used first. */
  held(): string[] {
    return [...this.#loaded.values()].map(({ choice }) => choice.name).reverse()
  }

  async close(): Promise<void> {
    for (const key of [...this.#loaded.keys()]) await this.#close(key)
  }

  async #close(key: string): Promise<void> {
    const entry = this.#loaded.get(key)
    this.#loaded.delete(key)
    this.#options.onChange?.()
    if (entry?.users === 0) await entry.engine.close()
  }
}
