/** 70 windows of a model that is 768 wide. */
const defaultBytes = 16 * 2 ** 20

/**
 * What the text encoder made of windows, so that a prompt that comes again, or the usual negative prompt, is not encoded
 * again. It holds at most so many bytes, keys included; the least recently used go first. Models may share one.
 */
export class KeptStates {
  /** Of what keys name: models, LoRAs and textual inversions, each another object when its file has changed. */
  readonly identities = new Identities()
  readonly #mostBytes: number
  /** A Map keeps insertion order: the first entry is the least recently used. */
  readonly #entries = new Map<string, Float32Array>()
  #bytes = 0

  constructor(mostBytes: number = defaultBytes) {
    this.#mostBytes = mostBytes
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Of the window with this key, made if they are not kept. They are shared: nobody may write into them. */
  async get(key: string, make: () => Promise<Float32Array>): Promise<Float32Array> {
    const known = this.#entries.get(key)
    const states = known ?? (await make())
    this.#drop(key)
    this.#entries.set(key, states)
    this.#bytes += sizeOf(key, states)
    for (const oldest of this.#entries.keys()) {
      if (this.#bytes <= this.#mostBytes) break
      this.#drop(oldest)
    }
    return states
  }

  #drop(key: string): void {
    const states = this.#entries.get(key)
    if (states === undefined) return
    this.#entries.delete(key)
    this.#bytes -= sizeOf(key, states)
  }
}

function sizeOf(key: string, { byteLength }: Float32Array): number {
  return 2 * key.length + byteLength
}

/** Numbers that stand for objects in a key: equal for the same object, and for no other. */
class Identities {
  readonly #numbers = new WeakMap<object, number>()
  #count = 0

  of(object: object): number {
    const known = this.#numbers.get(object)
    if (known !== undefined) return known
    this.#count += 1
    this.#numbers.set(object, this.#count)
    return this.#count
  }
}
