import { CheckpointError } from '../errors.ts'
import type { StoredTensor } from '../safetensors/safetensors.ts'
import { Activations, type GraphMemory } from './activations.ts'
import { type Attribute, type ElementType, elementType, node, tensorHeader, valueInfo } from './messages.ts'
import { ProtobufWriter } from './protobuf.ts'

/**
 * A typed writer of ONNX graphs. All shapes are fixed when the graph is written (but for the batch, if it is open), so
 * that its memory is known before it is loaded. Weights are external data that point into the checkpoint file by offset; only small
 * ones are copied.
 *
 * Longer than most files: it is one class, with which every network is written.
 */

/**
 * What a graph computes in; inputs and outputs are float32 either way. Where a provider has no kernel for `float16`
 * (the CPU's Gemm, Conv and attention), ONNX Runtime puts Casts: correct, but no faster.
 */
export type Precision = 'float32' | 'float16'

/**
 * `fused` is one operator that keeps no scores. Its WebGPU kernel is wrong by some percent of the largest value, and
 * says nothing, for more than 16 keys on SwiftShader (onnxruntime 1.30); `plain` is exact there.
 */
export type Attention = 'fused' | 'plain'

/** An edge of the graph: a tensor of known shape in the graph's precision. */
export interface Value {
  readonly name: string
  readonly dims: readonly number[]
  /** Of each number, where that is not the graph's precision. */
  readonly bytes?: number | undefined
}

/** Operators whose output has the type of their first input, whatever that is. */
const untyped = new Set(['Concat', 'Gather', 'Pad', 'Reshape', 'Slice', 'Transpose'])

/** The weights of a layer in eight bits are stored under these names, see `int8/prepare.ts`. */
export const eightBitKeys = (layer: string) => ({
  values: `${layer}.weight:int8`,
  scales: `${layer}.weight:scale`,
  /** Of a convolution behind an enlargement: see `int8/doubled.ts`. */
  doubled: { values: `${layer}.weight:int8:doubled`, scales: `${layer}.weight:scale:doubled` },
})

const onnxOpset = 20
const irVersion = 9

/**
 * Weights of at most so many numbers are written into the graph. ONNX Runtime resolves the path of the file for each external one, and
 * a Cast of half-precision numbers is a node: for norms and biases, four fifths of the weights, that was 40 % of the time in which a session of
 * packshot-mini's UNet is made.
 */
const mostInline = 4096

/** What a graph takes weights from. Accounts for every key: see `checkpoint/weights.ts`. */
export interface WeightSource {
  /** The file's name inside the folder that the session is given. */
  readonly fileName: string
  has(key: string): boolean
  /** The stored shape. @throws CheckpointError naming the key if it is missing */
  shape(key: string): readonly number[]
  /** @throws CheckpointError naming the key if it is missing or of another shape */
  take(key: string, shape: readonly number[]): StoredTensor
  /** The numbers of a small tensor that was taken. */
  numbers(tensor: StoredTensor): Float32Array
  /**
   * @param unused keys that begin with one of these belong to the file but to no graph of ours
   * @throws CheckpointError naming the first keys that nothing took
   */
  assertAllTaken(unused?: readonly string[]): void
}

/** How a graph is written, whatever its weights. */
export interface GraphOptions {
  /** When not given, float32. */
  readonly precision?: Precision
  /** When not given, fused. */
  readonly attention?: Attention
  /** Called when the graph is complete. */
  readonly onMemory?: (memory: GraphMemory) => void
  /** Layers (keys without `.weight`) that get a low-rank branch, and its rank: see `planLoras`. */
  readonly loraRanks?: ReadonlyMap<string, number>
  /** Keys of weights that are fed rather than stored, as `replacementInput`. */
  readonly replaced?: ReadonlySet<string>
  /**
   * Layers are computed both ways, each from exact inputs. The graph's first output is then the errors of those in eight
   * bits, relative to the exact results' sizes, in the order of the layers that are passed here.
   */
  readonly onCompared?: (layers: readonly string[]) => void
  /** The batch that the graph is written for is the largest: a run may have any smaller one. */
  readonly openBatch?: boolean
  /** What makes each row from that row alone goes through in pieces of rows, so that it stays in a processor's cache. */
  readonly pieces?: boolean
  /** 3x3 convolutions from at least so many channels to as many are computed in fewer products: see `models/winograd.ts`. */
  readonly winogradFrom?: number | undefined
}

/** Numbers in eight bits: each is `scale * (value - zero)`. */
interface Quantized {
  readonly values: Value
  readonly scale: Value
  readonly zero: Value
}

/** The input that takes a weight's place; float32, of the stored shape. */
export function replacementInput(key: string): string {
  return `weight:${key}`
}

export class Graph {
  readonly #name: string
  readonly #weights: WeightSource
  readonly #options: GraphOptions
  /** Layers that could have a branch. */
  #branched = new Set<string>()
  readonly #nodes: ProtobufWriter[] = []
  readonly #initializers: ProtobufWriter[] = []
  readonly #inputs: ProtobufWriter[] = []
  readonly #outputs: ProtobufWriter[] = []
  readonly #known = new Map<string, Value>()
  /** By the name of what was quantized. */
  readonly #quantized = new Map<string, Quantized>()
  readonly #compared: [layer: string, exact: Value, eightBits: Value][] = []
  readonly #inside: 'F32' | 'F16'
  readonly #activations: Activations
  #count = 0

  constructor(name: string, weights: WeightSource, options: GraphOptions = {}) {
    this.#name = name
    this.#weights = weights
    this.#options = options
    this.#inside = options.precision === 'float16' ? 'F16' : 'F32'
    this.#activations = new Activations(this.#inside === 'F16' ? 2 : 4)
  }

  /** A graph that nobody runs: its layers are checked, and count as layers of this one. */
  aside(name: string): Graph {
    const graph = new Graph(name, this.#weights, this.#options)
    graph.#branched = this.#branched
    return graph
  }

  /** How many axes a weight is stored with: layouts differ in whether a projection is a convolution. */
  storedRank(key: string): number {
    return this.#weights.shape(key).length
  }

  get inPieces(): boolean {
    return this.#options.pieces ?? false
  }

  /** Infinite where none is. */
  get winogradFrom(): number {
    return this.#options.winogradFrom ?? Number.POSITIVE_INFINITY
  }

  get attention(): Attention {
    return this.#options.attention ?? 'fused'
  }

  /** The rank of the LoRA branch beside a layer (its key without `.weight`), 0 for none. */
  loraRank(layer: string): number {
    this.#branched.add(layer)
    return this.#options.loraRanks?.get(layer) ?? 0
  }

  /** A float32 tensor that is fed with a row for each of the batch. */
  batchInput(name: string, dims: readonly number[]): Value {
    this.#inputs.push(valueInfo(name, this.#ofBatch(dims), 'F32'))
    this.#activations.input({ name, dims })
    return this.#converted({ name, dims }, 'F32')
  }

  /** A float32 tensor that is fed. */
  input(name: string, dims: readonly number[]): Value {
    this.#inputs.push(valueInfo(name, dims, 'F32'))
    this.#activations.input({ name, dims })
    return this.#converted({ name, dims }, 'F32')
  }

  /** An int32 tensor that is fed with a row for each of the batch. */
  integerInput(name: string, dims: readonly number[]): Value {
    this.#inputs.push(valueInfo(name, this.#ofBatch(dims), 'I32'))
    this.#activations.input({ name, dims })
    return this.#converted({ name, dims }, 'I32')
  }

  /** A float32 tensor that comes out, with a row for each of the batch. */
  output(name: string, value: Value): void {
    const [type, attributes] = this.#inside === 'F32' ? ['Identity', {}] : ['Cast', { to: elementType.F32 }]
    this.#nodes.push(node(type, [value.name], [name], attributes, ''))
    this.#activations.operator(type, [value.name], [{ name, dims: value.dims }])
    this.#outputs.push(valueInfo(name, this.#ofBatch(value.dims), 'F32'))
  }

  /**
   * A weight, used where it lies. `dims` may regroup the stored shape as long as the number of elements stays:
   * a 1x1 convolution [out, in, 1, 1] is also a matrix [out, in]. Weights of another type than the graph's get
   * a Cast, which ONNX Runtime folds away at load.
   */
  weight(key: string, shape: readonly number[], dims: readonly number[] = shape): Value {
    const known = this.#known.get(key)
    if (known) return known
    const tensor = this.#weights.take(key, shape)
    if (this.#options.replaced?.has(key)) {
      const fed = this.input(replacementInput(key), shape)
      const value = shape === dims ? fed : this.reshape(fed, dims)
      this.#known.set(key, value)
      return value
    }
    const value = this.#stored(key, dims, tensor)
    this.#known.set(key, value)
    return value
  }

  /** A tensor that is computed from a weight at load, and takes its place in memory. */
  madeOfWeight(
    key: string,
    shape: readonly number[],
    dims: readonly number[],
    make: (weight: Value) => Value,
  ): Value {
    const weight = this.weight(key, shape, dims)
    this.#activations.replaced(weight)
    return make(weight)
  }

  /** A weight [out, ...] of a plain layer as two, of one half of the outputs each, used where they lie. */
  weightHalves(key: string, shape: readonly number[]): [Value, Value] {
    const [out = 0, ...rest] = shape
    const { offset, length, ...tensor } = this.#weights.take(key, shape)
    const half = (part: number): Value => {
      const name = `${key}:${part}`
      const known = this.#known.get(name)
      if (known) return known
      const bytes = { offset: offset + (part * length) / 2, length: length / 2 }
      const value = this.#stored(name, [out / 2, ...rest], { ...tensor, ...bytes, key: name })
      this.#known.set(name, value)
      return value
    }
    return [half(0), half(1)]
  }

  /** Whether a layer is its stored weight and nothing else: not in eight bits, no LoRA, nothing is fed. */
  isPlain(layer: string): boolean {
    return !this.#has8(layer) && this.loraRank(layer) === 0 && !this.isFed(layer)
  }

  /** Whether a run brings the layer's weight. */
  isFed(layer: string): boolean {
    return this.#options.replaced?.has(`${layer}.weight`) ?? false
  }

  /** A layer in eight bits if the file has its weight so and nothing is fed in its place, else exactly. */
  either(layer: string, { exact, eightBits }: Readonly<Record<'exact' | 'eightBits', () => Value>>): Value {
    if (!this.#has8(layer) || this.isFed(layer)) return exact()
    if (this.#options.onCompared === undefined) return eightBits()
    const y = exact()
    this.#compared.push([layer, y, eightBits()])
    return y
  }

  /** Whether a layer is computed in eight bits and nothing else: no LoRA, nothing to compare with. */
  inEightBits(layer: string): boolean {
    return this.#has8(layer) && this.#options.onCompared === undefined && !this.isFed(layer)
  }

  hasDoubled(layer: string): boolean {
    return this.#weights.has(eightBitKeys(layer).doubled.values)
  }

  /**
   * A layer's weight in eight bits as matrices, which compute parts of its outputs, and the scale of each of their columns.
   * @param out of all parts together
   */
  eightBitWeights(
    layer: string,
    [inner, out]: readonly [number, number],
    { parts = 1, doubled = false } = {},
  ): { values: Value; scales: Value }[] {
    const keys = eightBitKeys(layer)
    const forms = [keys, ...(this.hasDoubled(layer) ? [keys.doubled] : [])]
    // each form counts as used, whichever this graph needs
    const taken = forms.map((form) => [form.values, form.scales].map((key) => this.#taken(key)))
    const [values, scales] = (doubled ? taken[1] : taken[0]) as [StoredTensor, StoredTensor]
    const names = doubled ? keys.doubled : keys
    const columns = out / parts
    return Array.from({ length: parts }, (_, part) => {
      const length = values.length / parts
      const matrix = { name: `${names.values}:${part}`, dims: [inner, columns], bytes: 1 }
      this.#external(matrix.name, matrix.dims, 'I8', { offset: values.offset + part * length, length })
      const ofPart = this.#weights.numbers(scales).subarray(part * columns, (part + 1) * columns)
      return { values: matrix, scales: this.#inline(`${names.scales}:${part}`, [columns], ofPart) }
    })
  }

  /** The numbers in eight bits without sign: their scale and zero point are those of all together. */
  quantized(x: Value): Quantized {
    const known = this.#quantized.get(x.name)
    if (known) return known
    const name = this.#fresh('DynamicQuantizeLinear')
    const values: Value = { name, dims: x.dims, bytes: 1 }
    const made = {
      values,
      scale: { name: `${name}_scale`, dims: [] },
      zero: { name: `${name}_zero`, dims: [] },
    }
    const outputs = [made.values, made.scale, made.zero]
    const names = outputs.map((value) => value.name)
    this.#nodes.push(node('DynamicQuantizeLinear', [x.name], names, {}, ''))
    this.#activations.operator('DynamicQuantizeLinear', [x.name], outputs)
    this.#quantized.set(x.name, made)
    return made
  }

  /** Zero-filled is what `fill` means: [B, H, W, C] with rows and columns added. @param pads [top, left, bottom, right] */
  padded(
    value: Value,
    [top, left, bottom, right]: readonly [number, number, number, number],
    fill: Value,
  ): Value {
    const [batch, height, width, channels] = value.dims as [number, number, number, number]
    const dims = [batch, height + top + bottom, width + left + right, channels]
    return this.op('Pad', [value, this.#integers([0, top, left, 0, 0, bottom, right, 0]), fill], dims)
  }

  /** Rows `begin` to `end` of [B, H, W, C]. */
  rowsOf(value: Value, begin: number, end: number): Value {
    const [batch, height, width, channels] = value.dims as [number, number, number, number]
    if (begin === 0 && end === height) return value
    const inputs = [[begin], [end], [1]].map((numbers) => this.#integers(numbers))
    return this.op('Slice', [value, ...inputs], [batch, end - begin, width, channels])
  }

  /**
   * Rows of [B, rows, C], in the order of their indices. The kernel copies with all threads, where Slice and Concat use one.
   * @param name identifies the indices @returns [B, indices, C]
   */
  gathered(value: Value, name: string, indices: () => Int32Array): Value {
    const id = `indices:${name}`
    let known = this.#known.get(id)
    if (known === undefined) {
      const raw = indices()
      known = { name: id, dims: [raw.length] }
      this.#initializers.push(
        tensorHeader(id, known.dims, elementType.I32).bytes(9, new Uint8Array(raw.buffer)),
      )
      this.#known.set(id, known)
    }
    const [batch, , channels] = value.dims as [number, number, number]
    return this.op('Gather', [value, known], [batch, known.dims[0] as number, channels], { axis: 1 })
  }

  /** Numbers that are written into the graph: for small tensors. */
  constant(name: string, values: readonly number[], dims: readonly number[]): Value {
    const id = `constant:${name}`
    const known = this.#known.get(id)
    if (known) return known
    const value = this.#inline(id, dims, values)
    this.#known.set(id, value)
    return value
  }

  /** One number for every element, without storing them: an Expand that is folded at load. */
  filled(value: number, dims: readonly number[]): Value {
    const id = `filled:${value}:${dims.join('x')}`
    const known = this.#known.get(id)
    if (known) return known
    const filled = this.expand(this.constant(String(value), [value], [1]), dims)
    this.#known.set(id, filled)
    return filled
  }

  /** Repeats axes of length 1. */
  expand(value: Value, dims: readonly number[]): Value {
    // an axis of length 1 in the shape leaves that of the value as it is
    const shape =
      this.#options.openBatch && value.dims.length === dims.length
        ? dims.map((dim, axis) => (value.dims[axis] === dim ? 1 : dim))
        : dims
    return this.op('Expand', [value, this.#integers(shape)], dims)
  }

  reshape(value: Value, dims: readonly number[]): Value {
    if (elements(value.dims) !== elements(dims)) {
      throw new Error(`${this.#name}: cannot reshape [${value.dims.join(', ')}] to [${dims.join(', ')}]`)
    }
    // -1: what is left, which depends on the batch
    const shape = this.#options.openBatch ? [-1, ...dims.slice(1)] : dims
    return this.op('Reshape', [value, this.#integers(shape)], dims)
  }

  transpose(value: Value, permutation: readonly number[]): Value {
    const dims = permutation.map((axis) => value.dims[axis] as number)
    return this.op('Transpose', [value], dims, { perm: permutation })
  }

  /** Two equal parts along the last axis. */
  halves(value: Value): [Value, Value] {
    const last = value.dims.at(-1) as number
    const dims = [...value.dims.slice(0, -1), last / 2]
    const outputs = [this.#fresh('Split'), this.#fresh('Split')]
    this.#nodes.push(node('Split', [value.name], outputs, { axis: -1, num_outputs: 2 }, ''))
    const halves: [Value, Value] = [
      { name: outputs[0] as string, dims },
      { name: outputs[1] as string, dims },
    ]
    this.#activations.operator('Split', [value.name], halves)
    return halves
  }

  /** Nearest-neighbour resize of [B, C, H, W]; rounding as torch's interpolate has it. */
  resize(value: Value, height: number, width: number): Value {
    const dims = [value.dims[0] as number, value.dims[1] as number, height, width]
    const none = { name: '', dims: [] }
    const open = this.#options.openBatch
    return this.op('Resize', [value, none, none, this.#integers(open ? [height, width] : dims)], dims, {
      mode: 'nearest',
      coordinate_transformation_mode: 'asymmetric',
      nearest_mode: 'floor',
      ...(open && { axes: [2, 3] }),
    })
  }

  /**
   * Any operator with one output whose shape the caller knows. `domain` is '' for ONNX's own.
   * @param scratch numbers that it holds while it runs
   */
  op(
    type: string,
    inputs: readonly Value[],
    dims: readonly number[],
    attributes: Record<string, Attribute> = {},
    domain: '' | 'com.microsoft' = '',
    scratch = 0,
  ): Value {
    const name = this.#fresh(type)
    const names = inputs.map((input) => input.name)
    this.#nodes.push(node(type, names, [name], attributes, domain))
    const value = { name, dims, bytes: untyped.has(type) ? inputs[0]?.bytes : undefined }
    this.#activations.operator(type, names, [value], scratch)
    return value
  }

  /** The serialized ModelProto. @throws CheckpointError naming a LoRA's layer that the graph does not have */
  serialize(): Uint8Array {
    for (const layer of this.#options.loraRanks?.keys() ?? []) {
      if (!this.#branched.has(layer)) {
        throw new CheckpointError(`${this.#weights.fileName}: the model has no layer "${layer}" for a LoRA`)
      }
    }
    if (this.#options.onCompared) this.#outputErrors(this.#options.onCompared)
    this.#options.onMemory?.(this.#activations.memory)
    const graph = new ProtobufWriter()
    for (const entry of this.#nodes) graph.message(1, entry)
    graph.string(2, this.#name)
    for (const entry of this.#initializers) graph.message(5, entry)
    for (const entry of this.#inputs) graph.message(11, entry)
    for (const entry of this.#outputs) graph.message(12, entry)
    const opset = (domain: string, version: number) => new ProtobufWriter().string(1, domain).int(2, version)
    return new ProtobufWriter()
      .int(1, irVersion)
      .string(2, 'packshot')
      .message(7, graph)
      .message(8, opset('', onnxOpset))
      .message(8, opset('com.microsoft', 1))
      .finish()
  }

  #outputErrors(onCompared: (layers: readonly string[]) => void): void {
    const size = (value: Value) => this.reshape(this.op('ReduceL2', [value], [], { keepdims: 0 }), [1])
    const errors = this.#compared.map(([, exact, eightBits]) => {
      const difference = this.op('Sub', [exact, eightBits], exact.dims)
      return this.op('Div', [size(difference), size(exact)], [1])
    })
    this.output('errors', this.op('Concat', errors, [errors.length], { axis: 0 }))
    this.#outputs.unshift(this.#outputs.pop() as ProtobufWriter)
    onCompared(this.#compared.map(([layer]) => layer))
  }

  #has8(layer: string): boolean {
    return this.#weights.has(eightBitKeys(layer).values)
  }

  /** In whatever shape it is stored. */
  #taken(key: string): StoredTensor {
    return this.#weights.take(key, this.#weights.shape(key))
  }

  /** A weight in the graph's precision. */
  #stored(key: string, dims: readonly number[], tensor: StoredTensor): Value {
    const type = tensor.dtype
    if (!isFloat(type))
      throw new CheckpointError(`${this.#weights.fileName}: weight "${key}" has dtype ${type}`)
    if (elements(dims) <= mostInline) return this.#inline(key, dims, this.#weights.numbers(tensor))
    this.#external(key, dims, type, tensor)
    return this.#converted({ name: key, dims }, type)
  }

  /** Numbers as a part of the graph, in its precision. */
  #inline(name: string, dims: readonly number[], numbers: ArrayLike<number>): Value {
    const { buffer } = this.#inside === 'F32' ? new Float32Array(numbers) : new Float16Array(numbers)
    this.#initializers.push(
      tensorHeader(name, dims, elementType[this.#inside]).bytes(9, new Uint8Array(buffer)),
    )
    return { name, dims }
  }

  /** A stored tensor, used where it lies. */
  #external(
    name: string,
    dims: readonly number[],
    type: ElementType,
    { offset, length }: Pick<StoredTensor, 'offset' | 'length'>,
  ): void {
    const entry = (key: string, value: string) => new ProtobufWriter().string(1, key).string(2, value)
    this.#initializers.push(
      tensorHeader(name, dims, elementType[type])
        .message(13, entry('location', this.#weights.fileName))
        .message(13, entry('offset', String(offset)))
        .message(13, entry('length', String(length)))
        .int(14, 1),
    )
  }

  /** The value in the graph's precision. */
  #converted(value: Value, from: ElementType): Value {
    return from === this.#inside
      ? value
      : this.op('Cast', [value], value.dims, { to: elementType[this.#inside] })
  }

  #ofBatch(dims: readonly number[]): readonly (number | string)[] {
    return this.#options.openBatch ? ['batch', ...dims.slice(1)] : dims
  }

  #fresh(type: string): string {
    this.#count += 1
    return `${type}_${this.#count}`
  }

  #integers(values: readonly number[]): Value {
    const name = `int64:${values.join(',')}`
    const value = { name, dims: [values.length] }
    if (!this.#known.has(name)) {
      const raw = new BigInt64Array(values.map(BigInt))
      this.#initializers.push(
        tensorHeader(name, [values.length], elementType.I64).bytes(9, new Uint8Array(raw.buffer)),
      )
      this.#known.set(name, value)
    }
    return value
  }
}

function elements(dims: readonly number[]): number {
  return dims.reduce((product, dim) => product * dim, 1)
}

type FloatType = 'F16' | 'BF16' | 'F32' | 'F64'

function isFloat(dtype: string): dtype is FloatType {
  return ['F16', 'BF16', 'F32', 'F64'].includes(dtype)
}
