/**
 * Writes EXIF UserComment. sharp cannot: libvips writes that field in ASCII only, and prompts may be in any script.
 */

export interface Comment {
  readonly format: 'jpeg' | 'webp'
  /** Size of the picture, in pixels. */
  readonly width: number
  readonly height: number
  readonly comment: string
}

const exifIfdTag = 0x87_69
const userCommentTag = 0x92_86
const typeLong = 4
const typeUndefined = 7
const ifdBytes = 2 + 12 + 4
/** In the flags of a WebP's VP8X chunk. */
const hasExif = 0x08

/** The length of a JPEG segment has 16 bits. */
const longestSegment = 0xff_ff

/**
 * Adds the comment to a JPEG or WebP file of sharp that has no EXIF yet.
 * @throws Error if the file is of another kind, or the comment longer than a JPEG can hold (about 32 000 characters)
 */
export function withExif(file: Uint8Array, { format, width, height, comment }: Comment): Uint8Array {
  const bytes = Buffer.from(file.buffer, file.byteOffset, file.byteLength)
  const exif = exifOf(comment)
  return format === 'jpeg' ? jpegWith(bytes, exif) : webpWith(bytes, exif, width, height)
}

/** TIFF with two directories of one entry each (EXIF 2.32, section 4.6; the comment's character code in table 9). */
function exifOf(comment: string): Buffer {
  const text = Buffer.concat([Buffer.from('UNICODE\0'), Buffer.from(comment, 'utf16le').swap16()])
  const header = Buffer.alloc(8 + 2 * ifdBytes)
  header.write('MM\0*', 'latin1')
  header.writeUInt32BE(8, 4)
  writeIfd(header, 8, { tag: exifIfdTag, type: typeLong, count: 1, value: 8 + ifdBytes })
  writeIfd(header, 8 + ifdBytes, {
    tag: userCommentTag,
    type: typeUndefined,
    count: text.length,
    value: header.length,
  })
  return Buffer.concat([header, text])
}

interface Entry {
  readonly tag: number
  readonly type: number
  readonly count: number
  readonly value: number
}

/** A directory of one entry; no other follows. */
function writeIfd(into: Buffer, at: number, { tag, type, count, value }: Entry): void {
  into.writeUInt16BE(1, at)
  into.writeUInt16BE(tag, at + 2)
  into.writeUInt16BE(type, at + 4)
  into.writeUInt32BE(count, at + 6)
  into.writeUInt32BE(value, at + 10)
}

/** APP1 comes first, after the start of the image. */
function jpegWith(file: Buffer, exif: Buffer): Buffer {
  if (file.readUInt16BE(0) !== 0xff_d8) throw new Error('not a JPEG')
  const length = 2 + 6 + exif.length
  if (length > longestSegment) throw new Error('the settings are too long for a JPEG')
  const head = Buffer.from([0xff, 0xd8, 0xff, 0xe1, length >> 8, length & 0xff])
  return Buffer.concat([head, Buffer.from('Exif\0\0', 'latin1'), exif, file.subarray(2)])
}

/**
 * The extended format: a VP8X chunk that announces EXIF, then the picture's own chunks, then EXIF
 * (https://developers.google.com/speed/webp/docs/riff_container).
 */
function webpWith(file: Buffer, exif: Buffer, width: number, height: number): Buffer {
  if (file.toString('latin1', 0, 4) !== 'RIFF' || file.toString('latin1', 12, 15) !== 'VP8')
    throw new Error('not a WebP')
  // one with transparency is extended already
  const isExtended = file.toString('latin1', 12, 16) === 'VP8X'
  const flags = isExtended ? file.readUInt8(20) : 0
  if ((flags & hasExif) !== 0) throw new Error('the WebP has EXIF already')
  const extended = Buffer.alloc(10)
  extended[0] = flags | hasExif
  extended.writeUIntLE(width - 1, 4, 3)
  extended.writeUIntLE(height - 1, 7, 3)
  const body = Buffer.concat([
    Buffer.from('WEBP'),
    chunk('VP8X', extended),
    file.subarray(isExtended ? 30 : 12),
    chunk('EXIF', exif),
  ])
  return chunk('RIFF', body)
}

/** Chunks have an even number of bytes; the length does not include the padding byte. */
function chunk(name: string, data: Buffer): Buffer {
  const head = Buffer.alloc(8)
  head.write(name, 'latin1')
  head.writeUInt32LE(data.length, 4)
  return Buffer.concat([head, data, Buffer.alloc(data.length % 2)])
}
