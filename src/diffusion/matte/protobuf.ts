import { readSync } from 'node:fs'
import { CheckpointError, refused } from '../errors.ts'

/**
 * Reads a protocol buffers message from an open file (https://protobuf.dev/programming-guides/encoding), without the large
 * fields that nobody asks for: a file of a gigabyte costs what its structure costs.
 */
export interface Field {
  readonly number: number
  /** 0: `value` is its number. 2: its bytes are from `from` to `to`. Others are skipped, but must be whole. */
  readonly wire: number
  readonly value: number
  readonly from: number
  readonly to: number
}

/** More than the graphs of the largest known networks have. */
const mostFields = 4_000_000
const windowBytes = 2 ** 16

export class Message {
  readonly size: number
  readonly #path: string
  readonly #descriptor: number
  readonly #window = Buffer.alloc(windowBytes)
  #start = 0
  #held = 0
  #fields = 0

  /** @param descriptor of an open file, which this does not close */
  constructor(path: string, descriptor: number, size: number) {
    this.#path = path
    this.#descriptor = descriptor
    this.size = size
  }

  /** @throws CheckpointError if a field does not end before `to` */
  *fields(from = 0, to = this.size): Generator<Field> {
    let at = from
    while (at < to) {
      this.#fields += 1
      if (this.#fields > mostFields) throw refused(this.#path, 'its graph is too large')
      const [tag, next] = this.#varint(at, to)
      const [number, wire] = [Math.floor(tag / 8), tag % 8]
      if (number === 0 || number > 2 ** 29) throw this.broken()
      if (wire === 0) {
        const [value, end] = this.#varint(next, to)
        yield { number, wire, value, from: next, to: end }
        at = end
        continue
      }
      const [length, start] = this.#extent(wire, next, to)
      if (start + length > to) throw this.broken()
      yield { number, wire, value: 0, from: start, to: start + length }
      at = start + length
    }
  }

  /** A short text. @throws CheckpointError for one of more than `most` bytes */
  text({ from, to }: Field, most = 4096): string {
    if (to - from > most) throw refused(this.#path, `a name in it has ${to - from} bytes`)
    return this.bytes(from, to).toString('utf8')
  }

  /** Numbers of a repeated integer field: packed, or one. */
  *numbers(field: Field): Generator<number> {
    if (field.wire === 0) yield field.value
    if (field.wire !== 2) return
    for (let at = field.from; at < field.to; ) {
      const [value, end] = this.#varint(at, field.to)
      yield value
      at = end
    }
  }

  bytes(from: number, to: number): Buffer {
    const out = Buffer.alloc(to - from)
    if (readSync(this.#descriptor, out, 0, out.length, from) !== out.length) throw this.broken()
    return out
  }

  broken(): CheckpointError {
    const reason = 'this is no complete ONNX file: it is truncated, damaged or of another kind'
    return new CheckpointError(`${this.#path}: ${reason}`, { reason })
  }

  /** Length and start of the value of a field that is not a varint. */
  #extent(wire: number, at: number, to: number): [number, number] {
    if (wire === 1) return [8, at]
    if (wire === 5) return [4, at]
    if (wire === 2) return this.#varint(at, to)
    throw this.broken()
  }

  /** Negative numbers and those above 2^53 come out imprecise: nothing here depends on them. */
  #varint(at: number, to: number): [number, number] {
    let [value, scale] = [0, 1]
    for (let i = 0; i < 10; i++) {
      if (at + i >= to) throw this.broken()
      const byte = this.#byte(at + i)
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return [value, at + i + 1]
      scale *= 128
    }
    throw this.broken()
  }

  #byte(at: number): number {
    if (at < this.#start || at >= this.#start + this.#held) {
      this.#start = at
      this.#held = readSync(this.#descriptor, this.#window, 0, windowBytes, at)
      if (this.#held === 0) throw this.broken()
    }
    return this.#window[at - this.#start] as number
  }
}
