/** What the pool must know of an engine. */
export interface PooledEngine {
  /** Of memory that it holds, about. */
  readonly bytes: number
  close(): Promise<void>
}

/** What is to be loaded. Two of the same key are the same engine. */
export interface EngineChoice {
  /** Shown to people. */
  readonly name: string
  readonly key: string
  /** Changes when its files do: it is then loaded anew. */
  readonly stamp: string
  /** What it will hold, about, once pictures are made. */
  readonly bytes: number
}

export interface PoolOptions<C extends EngineChoice, E extends PooledEngine> {
  readonly open: (choice: C) => Promise<E>
  /** In bytes, for all engines together. One engine stays whatever it holds. */
  readonly budget: number
  /** Told whenever something was loaded or released. */
  readonly onChange?: () => void
}

/**
 * Engines that are loaded when they are asked for; the least recently used are closed when memory is short. For one
 * caller that uses one engine at a time: an engine may be closed by the next `get`.
 */
export class EnginePool<C extends EngineChoice, E extends PooledEngine> {
  readonly #options: PoolOptions<C, E>
  /** The least recently used first: a Map keeps the order of insertion. */
  readonly #loaded = new Map<string, { choice: C; engine: E }>()

  constructor(options: PoolOptions<C, E>) {
    this.#options = options
  }

  /** Rejects with what `open` rejects with; what was loaded before and has room stays loaded. */
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

  /** Closes what is too much, now that it is known what a picture needed. */
  async trim(): Promise<void> {
    await this.#makeRoom(0, 1)
  }

  /** Names of what is loaded, the most recently used first. */
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
