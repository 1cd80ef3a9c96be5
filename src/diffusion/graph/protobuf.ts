/**
 * The little of the protobuf wire format that an ONNX model needs: varints, 32-bit floats and length-delimited
 * fields (https://protobuf.dev/programming-guides/encoding).
 */
export class ProtobufWriter {
  readonly #chunks: Uint8Array[] = []

  /** An integer field; negative numbers take ten bytes as the format prescribes for int64. */
  int(field: number, value: number | bigint): this {
    this.#varint(field << 3)
    this.#varint(
      value >= 0 && value <= Number.MAX_SAFE_INTEGER ? Number(value) : BigInt.asUintN(64, BigInt(value)),
    )
    return this
  }

  float(field: number, value: number): this {
    this.#varint((field << 3) | 5)
    this.#chunks.push(new Uint8Array(new Float32Array([value]).buffer))
    return this
  }

  bytes(field: number, value: Uint8Array): this {
    this.#varint((field << 3) | 2)
    this.#varint(value.length)
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

  /** Most are small numbers, which are many times as fast as large ones. */
  #varint(value: number | bigint): void {
    const out: number[] = []
    let rest = value
    while (rest > 0x7f) {
      out.push((typeof rest === 'number' ? rest % 0x80 : Number(rest & 0x7fn)) | 0x80)
      rest = typeof rest === 'number' ? Math.floor(rest / 0x80) : rest >> 7n
    }
    out.push(Number(rest))
    this.#chunks.push(Uint8Array.from(out))
  }
}
