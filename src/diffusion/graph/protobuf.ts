/**
 * The little of the protobuf wire format that an ONNX model needs: varints, 32-bit floats and length-delimited
 * fields (https://protobuf.dev/programming-guides/encoding).
 */
export class ProtobufWriter {
  readonly #chunks: Uint8Array[] = []

  /** An integer field; negative numbers take ten bytes as the format prescribes for int64. */
  int(field: number, value: number | bigint): this {
    this.#varint(BigInt(field << 3))
    this.#varint(BigInt.asUintN(64, BigInt(value)))
    return this
  }

  float(field: number, value: number): this {
    this.#varint(BigInt((field << 3) | 5))
    this.#chunks.push(new Uint8Array(new Float32Array([value]).buffer))
    return this
  }

  bytes(field: number, value: Uint8Array): this {
    this.#varint(BigInt((field << 3) | 2))
    this.#varint(BigInt(value.length))
    this.#chunks.push(value)
    return this
  }

  string(field: number, value: string): this {
    return this.bytes(field, Buffer.from(value, 'utf8'))
  }

  message(field: number, value: ProtobufWriter): this {
    return this.bytes(field, value.finish())
  }

  finish(): Uint8Array {
    return Buffer.concat(this.#chunks)
  }

  #varint(value: bigint): void {
    const out: number[] = []
    let rest = value
    do {
      const low = Number(rest & 0x7fn)
      rest >>= 7n
      out.push(rest > 0n ? low | 0x80 : low)
    } while (rest > 0n)
    this.#chunks.push(Uint8Array.from(out))
  }
}
