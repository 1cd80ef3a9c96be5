/**
 * What the first bytes of a picture file say, read without a decoder: a size must be known to be harmless before a
 * decoder is given the file. PNG: W3C PNG (third edition), section 11; JPEG: ITU-T T.81, annex B; WebP: RFC 9649.
 */
export interface PictureHead {
  readonly format: 'png' | 'jpeg' | 'webp'
  readonly width: number
  readonly height: number
  /** Whether it has several frames, as APNG and WebP may. */
  readonly animated: boolean
}

/** Undefined if the file is of another kind or its header is damaged. */
export function pictureHead(bytes: Uint8Array): PictureHead | undefined {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  try {
    if (file.toString('latin1', 1, 4) === 'PNG') return pngHead(file)
    if (file.readUInt16BE(0) === 0xff_d8) return jpegHead(file)
    if (file.toString('latin1', 8, 12) === 'WEBP') return webpHead(file)
  } catch (thrown) {
    // the header says more than there are bytes
    if (!(thrown instanceof RangeError)) throw thrown
  }
  return undefined
}

/** The chunk that makes a PNG an animation comes before its pixels. */
function pngHead(file: Buffer): PictureHead | undefined {
  if (file.toString('latin1', 12, 16) !== 'IHDR') return undefined
  const [width, height] = [file.readUInt32BE(16), file.readUInt32BE(20)]
  let animated = false
  for (let at = 8; at + 8 <= file.length; at += 12 + file.readUInt32BE(at)) {
    const name = file.toString('latin1', at + 4, at + 8)
    if (name === 'acTL') animated = file.readUInt32BE(at + 8) > 1
    if (name === 'IDAT' || animated) break
  }
  return { format: 'png', width, height, animated }
}

/** Frame headers (SOF) are C0 to CF without the tables C4, C8 and CC. */
function jpegHead(file: Buffer): PictureHead | undefined {
  for (let at = 2; ; ) {
    if (file.readUInt8(at) !== 0xff) return undefined
    const marker = file.readUInt8(at + 1)
    if (marker === 0xff) at += 1
    else if (marker === 0x01 || (marker >= 0xd0 && marker <= 0xd7)) at += 2
    else if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
      return {
        format: 'jpeg',
        height: file.readUInt16BE(at + 5),
        width: file.readUInt16BE(at + 7),
        animated: false,
      }
    } else if (marker === 0xda || marker === 0xd9) return undefined
    else at += 2 + file.readUInt16BE(at + 2)
  }
}

function webpHead(file: Buffer): PictureHead | undefined {
  const size = (width: number, height: number, animated = false) =>
    ({ format: 'webp', width, height, animated }) as const
  switch (file.toString('latin1', 12, 16)) {
    case 'VP8 ':
      return size(file.readUInt16LE(26) & 0x3f_ff, file.readUInt16LE(28) & 0x3f_ff)
    case 'VP8L': {
      const bits = file.readUInt32LE(21)
      return size((bits & 0x3f_ff) + 1, ((bits >>> 14) & 0x3f_ff) + 1)
    }
    case 'VP8X':
      return size(file.readUIntLE(24, 3) + 1, file.readUIntLE(27, 3) + 1, (file.readUInt8(20) & 0x02) !== 0)
    default:
      return undefined
  }
}
