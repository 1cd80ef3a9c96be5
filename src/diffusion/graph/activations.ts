import type { Value } from './graph.ts'

/** Operators whose output is their first input under another shape. */
const views = new Set(['Reshape', 'Identity'])

/** What a graph holds in memory besides its weights, in bytes. */
export interface GraphMemory {
  /** The most that lives at the same time: a value lives from the operator that makes it to the last that reads it. */
  readonly activations: number
  /** What ONNX Runtime computes from constants at load, and keeps, without the weights that it takes the place of. */
  readonly constants: number
}

/** Counts the memory of a graph while it is written. */
export class Activations {
  readonly #bytesPerNumber: number
  /** What depends on inputs; all else is folded at load. */
  readonly #computed = new Map<string, { readonly bytes: number; lastUse: number }>()
  readonly #steps: { readonly made: readonly string[]; readonly scratch: number }[] = []
  #constants = 0

  constructor(bytesPerNumber: number) {
    this.#bytesPerNumber = bytesPerNumber
  }

  /** A weight that constants are made of, and that is then used nowhere. */
  replaced(weight: Value): void {
    this.#constants -= this.#bytes(weight)
  }

  /** A tensor that is fed: its memory is that of whoever feeds it. */
  input({ name }: Value): void {
    this.#computed.set(name, { bytes: 0, lastUse: 0 })
  }

  /**
   * One operator, in the order of execution.
   * @param scratch numbers that the operator holds while it runs, besides its inputs and outputs
   */
  operator(type: string, inputs: readonly string[], outputs: readonly Value[], scratch = 0): void {
    const read = inputs.map((name) => this.#computed.get(name)).filter((value) => value !== undefined)
    if (read.length === 0) {
      // a Cast is of a weight, which whoever has the file counts
      if (type !== 'Cast') for (const value of outputs) this.#constants += this.#bytes(value)
      return
    }
    for (const value of read) value.lastUse = this.#steps.length
    const [source] = read
    if (views.has(type) && source !== undefined) {
      for (const { name } of outputs) this.#computed.set(name, source)
      this.#steps.push({ made: [], scratch: 0 })
    } else this.#made(outputs, scratch)
  }

  get memory(): GraphMemory {
    return { activations: this.#peak(), constants: this.#constants }
  }

  #peak(): number {
    let live = 0
    let peak = 0
    const released = new Map<number, number>()
    for (const [step, { made, scratch }] of this.#steps.entries()) {
      for (const name of made) {
        const value = this.#computed.get(name)
        if (value === undefined) continue
        live += value.bytes
        released.set(value.lastUse, (released.get(value.lastUse) ?? 0) + value.bytes)
      }
      peak = Math.max(peak, live + scratch * this.#bytesPerNumber)
      live -= released.get(step) ?? 0
    }
    return peak
  }

  #made(values: readonly Value[], scratch: number): void {
    const lastUse = this.#steps.length
    for (const value of values) this.#computed.set(value.name, { bytes: this.#bytes(value), lastUse })
    this.#steps.push({ made: values.map(({ name }) => name), scratch })
  }

  #bytes({ dims, bytes = this.#bytesPerNumber }: Value): number {
    return dims.reduce((product, dim) => product * dim, bytes)
  }
}
