import { crc32, deflateSync } from 'node:zlib'
import type { Picture } from '../request.ts'

/** PNG (https://www.w3.org/TR/png-3): 8-bit RGB, filtered per row, with text chunks. */

const signature = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a)
const bytesPerPixel = 3
const compressionLevel = 6

/** @param text by keyword, for instance `parameters`, which A1111 and its derivatives read */
export function encodePng(picture: Picture, text: Readonly<Record<string, string>> = {}): Uint8Array {
  const { width, height } = picture
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width, 0)
  header.writeUInt32BE(height, 4)
  // 8 bits per sample, colour type 2 (RGB), compression and filter method 0 (the only ones), no interlacing
  header.set([8, 2, 0, 0, 0], 8)
  return Buffer.concat([
    signature,
    chunk('IHDR', header),
    ...Object.entries(text).map(([keyword, value]) => textChunk(keyword, value)),
    chunk('IDAT', deflateSync(filtered(picture), { level: compressionLevel })),
    chunk('IEND', Buffer.alloc(0)),
  ])
}

/** The same file with text chunks after its header. @param png a PNG without text */
export function withText(png: Uint8Array, text: Readonly<Record<string, string>>): Uint8Array {
  const end = signature.length + 12 + 13
  const chunks = Object.entries(text).map(([keyword, value]) => textChunk(keyword, value))
  return Buffer.concat([png.subarray(0, end), ...chunks, png.subarray(end)])
}

function chunk(type: string, data: Uint8Array): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data])
  const out = Buffer.alloc(body.length + 8)
  out.writeUInt32BE(data.length, 0)
  out.set(body, 4)
  out.writeUInt32BE(crc32(body), body.length + 4)
  return out
}

/** tEXt is Latin-1 only; anything else goes into iTXt as UTF-8, uncompressed, as in Pillow. */
function textChunk(keyword: string, text: string): Buffer {
  const latin1 = Buffer.from(text, 'latin1')
  if (latin1.toString('latin1') === text) {
    return chunk('tEXt', Buffer.concat([Buffer.from(`${keyword}\0`, 'latin1'), latin1]))
  }
  return chunk(
    'iTXt',
    Buffer.concat([Buffer.from(`${keyword}\0\0\0\0\0`, 'latin1'), Buffer.from(text, 'utf8')]),
  )
}

/**
 * Filters each row so that the sum of absolute values of its bytes, taken as signed, is smallest: the heuristic that
 * the specification recommends (section 12.7).
 */
function filtered({ rgb, width, height }: Picture): Uint8Array {
  const stride = width * bytesPerPixel
  const out = new Uint8Array((stride + 1) * height)
  const candidates = Array.from({ length: 5 }, () => new Uint8Array(stride))
  let above: Uint8Array = new Uint8Array(stride)
  for (let y = 0; y < height; y++) {
    const row = rgb.subarray(y * stride, (y + 1) * stride)
    filterRow(row, above, candidates)
    const sums = candidates.map(signedSum)
    const best = sums.indexOf(Math.min(...sums))
    out[y * (stride + 1)] = best
    out.set(candidates[best]!, y * (stride + 1) + 1)
    above = row
  }
  return out
}

function filterRow(row: Uint8Array, above: Uint8Array, candidates: readonly Uint8Array[]): void {
  const [none, sub, up, average, paeth] = candidates as [
    Uint8Array,
    Uint8Array,
    Uint8Array,
    Uint8Array,
    Uint8Array,
  ]
  for (let i = 0; i < row.length; i++) {
    const value = row[i]!
    const a = i < bytesPerPixel ? 0 : row[i - bytesPerPixel]!
    const b = above[i]!
    const c = i < bytesPerPixel ? 0 : above[i - bytesPerPixel]!
    none[i] = value
    sub[i] = value - a
    up[i] = value - b
    average[i] = value - ((a + b) >> 1)
    const [pa, pb, pc] = [Math.abs(b - c), Math.abs(a - c), Math.abs(a + b - 2 * c)]
    paeth[i] = value - (pa <= pb && pa <= pc ? a : pb <= pc ? b : c)
  }
}

function signedSum(bytes: Uint8Array): number {
  let sum = 0
  for (let i = 0; i < bytes.length; i++) sum += bytes[i]! < 128 ? bytes[i]! : 256 - bytes[i]!
  return sum
}
