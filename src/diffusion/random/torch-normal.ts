/**
 * torch's CPU generator: `torch.randn(count, generator=torch.Generator("cpu").manual_seed(seed))`, so that a
 * seed gives the same picture as in diffusers. Mersenne Twister 19937 (Matsumoto and Nishimura 1998) feeding
 * Box-Muller in blocks of 16, as in ATen/native/cpu/DistributionTemplates.h (normal_fill).
 */
const stateSize = 624
const shiftSize = 397
const block = 16

class MersenneTwister {
  readonly #state = new Uint32Array(stateSize)
  #index = stateSize

  constructor(seed: number) {
    this.#state[0] = seed >>> 0
    for (let i = 1; i < stateSize; i++) {
      const last = this.#state[i - 1]!
      this.#state[i] = Math.imul(1812433253, last ^ (last >>> 30)) + i
    }
  }

  /** 32 random bits. */
  next(): number {
    if (this.#index === stateSize) this.#twist()
    let y = this.#state[this.#index++]!
    y ^= y >>> 11
    y ^= (y << 7) & 0x9d2c5680
    y ^= (y << 15) & 0xefc60000
    return (y ^ (y >>> 18)) >>> 0
  }

  /** torch's uniform float32 in [0, 1): the lower 24 bits. */
  uniform(): number {
    return (this.next() & 0xffffff) / 0x1000000
  }

  #twist(): void {
    const state = this.#state
    for (let i = 0; i < stateSize; i++) {
      const y = (state[i]! & 0x80000000) | (state[(i + 1) % stateSize]! & 0x7fffffff)
      state[i] = state[(i + shiftSize) % stateSize]! ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0)
    }
    this.#index = 0
  }
}

/** Draws are one stream: the result of a call depends on how many numbers the calls before it drew. */
export class TorchGenerator {
  readonly #twister: MersenneTwister

  /** @param seed 0 to 2^32 - 1 */
  constructor(seed: number) {
    this.#twister = new MersenneTwister(seed)
  }

  /**
   * Standard normal float32 numbers.
   * @param count at least 16: below that torch uses a different algorithm, and no latent is that small
   */
  randn(count: number): Float32Array {
    if (count < block)
      throw new RangeError(`randn draws at least ${block} numbers, but ${count} were requested`)
    const uniform = () => this.#twister.uniform()
    const out = Float32Array.from({ length: count }, uniform)
    for (let begin = 0; begin + block <= count; begin += block) boxMuller(out, begin)
    if (count % block !== 0) {
      // torch redraws the last 16 numbers, overwriting some that are already done
      const begin = count - block
      for (let i = begin; i < count; i++) out[i] = uniform()
      boxMuller(out, begin)
    }
    return out
  }
}

function boxMuller(out: Float32Array, begin: number): void {
  const half = block / 2
  for (let i = begin; i < begin + half; i++) {
    const radius = Math.sqrt(-2 * Math.log(1 - out[i]!))
    const angle = 2 * Math.PI * out[i + half]!
    out[i] = radius * Math.cos(angle)
    out[i + half] = radius * Math.sin(angle)
  }
}
