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

export interface PoolOptions<C extends EngineChoice, E extends PooledEngine> {
  readonly open: (choice: C) => Promise<E>
  /** Called whenever an engine was loaded or released. */
  readonly onChange?: () => void
}

/**
 * Engines loaded on demand. Their memory is one budget, which the cache of their sessions keeps; the pool closes those
 * that lost all of it. For a single caller that uses one engine at a time.
 */
export class EnginePool<C extends EngineChoice, E extends PooledEngine> {
  readonly #options: PoolOptions<C, E>
  /** The least recently used first: a Map keeps the order of insertion. */
  readonly #loaded = new Map<string, { choice: C; engine: E }>()

  constructor(options: PoolOptions<C, E>) {
    this.#options = options
  }

  /** Rejects as `open` does. */
  async get(choice: C): Promise<E> {
    const known = this.#loaded.get(choice.key)
    if (known?.choice.stamp === choice.stamp) {
      this.#loaded.delete(choice.key)
      this.#loaded.set(choice.key, known)
      return known.engine
    }
    if (known !== undefined) await this.#close(choice.key)
    const engine = await this.#options.open(choice)
    this.#loaded.set(choice.key, { choice, engine })
    this.#options.onChange?.()
    return engine
  }

  /** To be called after a picture: closes engines whose memory others took. */
  async trim(): Promise<void> {
    for (const [key, { engine }] of this.#loaded) if (engine.bytes === 0) await this.#close(key)
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
    await entry?.engine.close()
  }
}
