import { ProtobufWriter } from './protobuf.ts'

/**
 * The messages that an ONNX graph is made of. Field numbers are those of onnx.proto
 * (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
 */

export const elementType = { F32: 1, I8: 3, I32: 6, I64: 7, F16: 10, F64: 11, BF16: 16 } as const
export type ElementType = keyof typeof elementType

export type Attribute = number | string | readonly number[] | { readonly float: number }

/** A TensorProto with dims, type (`elementType`) and name; its data is to follow. */
export function tensorHeader(name: string, dims: readonly number[], type: number): ProtobufWriter {
  const tensor = new ProtobufWriter()
  for (const dim of dims) tensor.int(1, dim)
  return tensor.int(2, type).string(8, name)
}

/** A ValueInfoProto: an input or output. A name in place of a number is an axis of any length. */
export function valueInfo(
  name: string,
  dims: readonly (number | string)[],
  type: ElementType,
): ProtobufWriter {
  const shape = new ProtobufWriter()
  for (const dim of dims) {
    const one = new ProtobufWriter()
    shape.message(1, typeof dim === 'number' ? one.int(1, dim) : one.string(2, dim))
  }
  const tensorType = new ProtobufWriter().int(1, elementType[type]).message(2, shape)
  return new ProtobufWriter().string(1, name).message(2, new ProtobufWriter().message(1, tensorType))
}

/** A NodeProto. @param domain '' for ONNX's own operators */
export function node(
  type: string,
  inputs: readonly string[],
  outputs: readonly string[],
  attributes: Record<string, Attribute>,
  domain: string,
): ProtobufWriter {
  const writer = new ProtobufWriter()
  for (const name of inputs) writer.string(1, name)
  for (const name of outputs) writer.string(2, name)
  writer.string(3, outputs[0] as string).string(4, type)
  for (const [name, value] of Object.entries(attributes)) writer.message(5, attribute(name, value))
  return writer.string(7, domain)
}

/** Numbers are written as INT (2), `{float}` as FLOAT (1), text as STRING (3), lists as INTS (7). */
function attribute(name: string, value: Attribute): ProtobufWriter {
  const writer = new ProtobufWriter().string(1, name)
  if (typeof value === 'number') return writer.int(3, value).int(20, 2)
  if (typeof value === 'string') return writer.string(4, value).int(20, 3)
  if ('float' in value) return writer.float(2, value.float).int(20, 1)
  for (const item of value) writer.int(8, item)
  return writer.int(20, 7)
}
