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
  /** Memory that it will hold once pictures are made, approximately. */
  readonly bytes: number
}

export interface PoolOptions<C extends EngineChoice, E extends PooledEngine> {
  readonly open: (choice: C) => Promise<E>
  /** In bytes, for all engines together. One engine is kept whatever its size. */
  readonly budget: number
  /** Called whenever an engine was loaded or released. */
  readonly onChange?: () => void
}

/**
 * Loads engines on demand and closes the least recently used when memory is short. For a single caller that uses one
 * engine at a time: the next `get` may close an engine.
 */
export class EnginePool<C extends EngineChoice, E extends PooledEngine> {
  readonly #options: PoolOptions<C, E>
  /** The least recently used first: a Map keeps the order of insertion. */
  readonly #loaded = new Map<string, { choice: C; engine: E }>()

  constructor(options: PoolOptions<C, E>) {
    this.#options = options
  }

  /** Rejects as `open` does; engines that fit into the budget stay loaded. */
  async get(choice: C): Promise<E> {
    const known = this.#loaded.get(choice.key)
    if (known?.choice.stamp === choice.stamp) {
      this.#loaded.delete(choice.key)
      this.#loaded.set(choice.key, known)
      return known.engine
    }
    if (known !== undefined) await this.#close(choice.key)
    await this.#makeRoom(choice.bytes, 0)
    const engine = await this.#options.open(choice)
    this.#loaded.set(choice.key, { choice, engine })
    this.#options.onChange?.()
    return engine
  }

  /** Closes what exceeds the budget, now that the memory of a picture is known. */
  async trim(): Promise<void> {
    await this.#makeRoom(0, 1)
  }

  /** Names of the loaded engines, the most recently used first. */
  held(): string[] {
    return [...this.#loaded.values()].map(({ choice }) => choice.name).reverse()
  }

  get bytes(): number {
    // a fresh engine holds little until its first picture
    return [...this.#loaded.values()].reduce(
      (sum, { choice, engine }) => sum + Math.max(choice.bytes, engine.bytes),
      0,
    )
  }

  async close(): Promise<void> {
    for (const key of [...this.#loaded.keys()]) await this.#close(key)
  }

  async #makeRoom(wanted: number, least: number): Promise<void> {
    for (const key of [...this.#loaded.keys()]) {
      if (this.#loaded.size <= least || this.bytes + wanted <= this.#options.budget) return
      await this.#close(key)
    }
  }

  async #close(key: string): Promise<void> {
    const entry = this.#loaded.get(key)
    this.#loaded.delete(key)
    this.#options.onChange?.()
    await entry?.engine.close()
  }
}
