/**
 * The little of the protobuf wire format that an ONNX model needs: varints, 32-bit floats and length-delimited
 * fields (https://protobuf.dev/programming-guides/encoding). A graph is some ten thousand fields, so they are written into one buffer.
 */
export class ProtobufWriter {
  #buffer = Buffer.allocUnsafe(64)
  #length = 0

  /** An integer field; negative numbers take ten bytes as the format prescribes for int64. */
  int(field: number, value: number | bigint): this {
    this.#varint(field << 3)
    const isSmall = value >= 0 && value <= Number.MAX_SAFE_INTEGER
    if (isSmall) this.#varint(Number(value))
    else this.#bigVarint(BigInt.asUintN(64, BigInt(value)))
    return this
  }

  float(field: number, value: number): this {
    this.#varint((field << 3) | 5)
    this.#makeRoom(4)
    this.#length = this.#buffer.writeFloatLE(value, this.#length)
    return this
  }

  bytes(field: number, value: Uint8Array): this {
    this.#varint((field << 3) | 2)
    this.#varint(value.length)
    this.#makeRoom(value.length)
    this.#buffer.set(value, this.#length)
    this.#length += value.length
    return this
  }

  string(field: number, value: string): this {
    return this.bytes(field, Buffer.from(value, 'utf8'))
  }

  message(field: number, value: ProtobufWriter): this {
    return this.bytes(field, value.finish())
  }

  /** What was written so far. */
  finish(): Uint8Array {
    return this.#buffer.subarray(0, this.#length)
  }

  #varint(value: number): void {
    this.#makeRoom(8)
    let rest = value
    while (rest > 0x7f) {
      this.#buffer[this.#length++] = (rest % 0x80) | 0x80
      rest = Math.floor(rest / 0x80)
    }
    this.#buffer[this.#length++] = rest
  }

  #bigVarint(value: bigint): void {
    this.#makeRoom(10)
    let rest = value
    while (rest > 0x7fn) {
      this.#buffer[this.#length++] = Number(rest & 0x7fn) | 0x80
      rest >>= 7n
    }
    this.#buffer[this.#length++] = Number(rest)
  }

  #makeRoom(bytes: number): void {
    if (this.#length + bytes <= this.#buffer.length) return
    const larger = Buffer.allocUnsafe(2 * (this.#length + bytes))
    this.#buffer.copy(larger, 0, 0, this.#length)
    this.#buffer = larger
  }
}
