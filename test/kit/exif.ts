import assert from 'node:assert/strict'

/** The UserComment in EXIF as libvips finds it in a file (`metadata().exif`), read by the tags of the specification. */
export function commentIn(exif: Buffer | undefined): string {
  assert.ok(exif)
  const tiff = exif.subarray(exif.indexOf('MM\0*'))
  const entry = (at: number, tag: number) => {
    assert.deepEqual([tiff.readUInt16BE(at), tiff.readUInt16BE(at + 2)], [1, tag])
    return { count: tiff.readUInt32BE(at + 6), value: tiff.readUInt32BE(at + 10) }
  }
  const { count, value } = entry(entry(tiff.readUInt32BE(4), 0x87_69).value, 0x92_86)
  const comment = tiff.subarray(value, value + count)
  assert.equal(comment.toString('latin1', 0, 8), 'UNICODE\0')
  return Buffer.from(comment.subarray(8)).swap16().toString('utf16le')
}
