import { closeSync, fstatSync, openSync, realpathSync, statSync } from 'node:fs'
import { refused } from '../errors.ts'
import { foreignContent } from '../safetensors/foreign-file.ts'
import { type Field, Message } from './protobuf.ts'

/** What an ONNX file contains, by its structure (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto). */
export interface OnnxFacts {
  /** The real path. */
  readonly path: string
  readonly bytes: number
  /** Inputs that are no stored weights, and outputs. */
  readonly inputs: readonly Value[]
  readonly outputs: readonly Value[]
  /** Kinds of operators: "Conv", or "com.microsoft.Attention" for those of another set. */
  readonly operators: ReadonlySet<string>
  readonly metadata: ReadonlyMap<string, string>
  readonly tensors: number
  readonly parameters: number
}

export interface Value {
  readonly name: string
  /** ONNX's number of it: 1 is float32. */
  readonly type: number
  /** Undefined if it is not said; -1 for a size that is open. */
  readonly dims: readonly number[] | undefined
}

const deepest = 16

/**
 * Reads the structure of an ONNX file whose weights are in it; weights are skipped.
 * @throws CheckpointError if it is missing, truncated, of another kind, or refers to other files
 */
export function readOnnx(file: string): OnnxFacts {
  let path: string
  try {
    path = realpathSync(file)
    if (!statSync(path).isFile()) throw new Error('no file')
  } catch (cause) {
    throw refused(file, 'the file is missing or not readable', cause)
  }
  const descriptor = openSync(path, 'r')
  try {
    const { size } = fstatSync(descriptor)
    if (size === 0) throw refused(file, 'the file is empty; the download or copy may not have finished')
    const message = new Message(file, descriptor, size)
    const foreign = foreignContent(message.bytes(0, Math.min(size, 512)))
    if (foreign !== undefined) throw refused(file, foreign)
    return { path, bytes: size, ...new Reading(file, message).facts() }
  } finally {
    closeSync(descriptor)
  }
}

class Reading {
  readonly #file: string
  readonly #message: Message
  readonly #operators = new Set<string>()
  readonly #stored = new Set<string>()
  #tensors = 0
  #parameters = 0

  constructor(file: string, message: Message) {
    this.#file = file
    this.#message = message
  }

  facts(): Omit<OnnxFacts, 'path' | 'bytes'> {
    const metadata = new Map<string, string>()
    const inputs: Value[] = []
    const outputs: Value[] = []
    let graphs = 0
    for (const field of this.#message.fields()) {
      if (field.number === 7 && field.wire === 2) {
        graphs += 1
        this.#graph(field, 0, { inputs, outputs })
      } else if (field.number === 14) {
        const [key, value] = this.#texts(field, 1, 2)
        if (metadata.size < 100) metadata.set(key, value)
      } else if (field.number === 25) {
        for (const node of this.#within(field, 7)) this.#node(node, 0)
      }
    }
    if (graphs !== 1 || outputs.length === 0) throw this.#message.broken()
    return {
      metadata,
      outputs,
      inputs: inputs.filter(({ name }) => !this.#stored.has(name)),
      operators: this.#operators,
      tensors: this.#tensors,
      parameters: this.#parameters,
    }
  }

  #graph({ from, to }: Field, depth: number, top?: { inputs: Value[]; outputs: Value[] }): void {
    if (depth > deepest) throw refused(this.#file, 'its graphs are nested too deeply')
    for (const field of this.#message.fields(from, to)) {
      if (field.wire !== 2) continue
      if (field.number === 1) this.#node(field, depth)
      else if (field.number === 5) this.#stored.add(this.#tensor(field))
      else if (field.number === 15) this.#sparse(field)
      else if (field.number === 11) top?.inputs.push(this.#value(field))
      else if (field.number === 12) top?.outputs.push(this.#value(field))
    }
  }

  #node({ from, to }: Field, depth: number): void {
    let [operator, domain] = ['', '']
    for (const field of this.#message.fields(from, to)) {
      if (field.number === 4) operator = this.#message.text(field)
      else if (field.number === 7) domain = this.#message.text(field)
      else if (field.number === 5) this.#attribute(field, depth)
    }
    this.#operators.add(domain === '' || domain === 'ai.onnx' ? operator : `${domain}.${operator}`)
    if (this.#operators.size > 1000) throw refused(this.#file, 'it has too many kinds of operators')
  }

  #attribute({ from, to }: Field, depth: number): void {
    for (const field of this.#message.fields(from, to)) {
      if (field.wire !== 2) continue
      if (field.number === 5 || field.number === 10) this.#tensor(field)
      else if (field.number === 6 || field.number === 11) this.#graph(field, depth + 1)
      else if (field.number === 22 || field.number === 23) this.#sparse(field)
    }
  }

  #sparse(tensor: Field): void {
    for (const part of [1, 2]) for (const field of this.#within(tensor, part)) this.#tensor(field)
  }

  /** @returns its name */
  #tensor({ from, to }: Field): string {
    let [name, count, outside] = ['', 1, false]
    for (const field of this.#message.fields(from, to)) {
      if (field.number === 1) for (const dim of this.#message.numbers(field)) count *= dim
      else if (field.number === 8) name = this.#message.text(field)
      else if (field.number === 13 || (field.number === 14 && field.value !== 0)) outside = true
    }
    if (outside) {
      const reason =
        'its weights are in other files (external data), which are not read; use one that has them in itself'
      throw refused(this.#file, reason)
    }
    this.#tensors += 1
    this.#parameters += count
    return name
  }

  #value(info: Field): Value {
    let value: Value = { name: '', type: 0, dims: undefined }
    for (const field of this.#message.fields(info.from, info.to)) {
      if (field.number === 1) value = { ...value, name: this.#message.text(field) }
      if (field.number !== 2) continue
      for (const tensor of this.#within(field, 1)) value = { ...value, ...this.#tensorType(tensor) }
    }
    return value
  }

  #tensorType({ from, to }: Field): Pick<Value, 'type' | 'dims'> {
    let type = 0
    let dims: number[] | undefined
    for (const field of this.#message.fields(from, to)) {
      if (field.number === 1) type = field.value
      else if (field.number === 2) dims = [...this.#within(field, 1)].map((dim) => this.#size(dim))
    }
    return { type, dims }
  }

  #size({ from, to }: Field): number {
    for (const { number, value } of this.#message.fields(from, to)) if (number === 1) return value
    return -1
  }

  #texts(field: Field, first: number, second: number): [string, string] {
    const found = new Map<number, string>()
    for (const part of this.#message.fields(field.from, field.to)) {
      if (part.wire === 2) found.set(part.number, part.to - part.from > 4096 ? '' : this.#message.text(part))
    }
    return [found.get(first) ?? '', found.get(second) ?? '']
  }

  *#within({ from, to }: Field, number: number): Generator<Field> {
    for (const field of this.#message.fields(from, to)) {
      if (field.number === number && field.wire === 2) yield field
    }
  }
}
