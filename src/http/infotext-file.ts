/**
 * The settings that a picture file carries, as the web UI and Packshot write them: in a PNG the text `parameters`, in
 * JPEG and WebP EXIF UserComment.
 * @returns undefined if there are none, or the file is damaged
 */
export function infotextOf(file: Buffer): string | undefined {
  try {
    if (file.toString('latin1', 1, 4) === 'PNG') return textOfPng(file)
    const exif = file[0] === 0xff ? exifOfJpeg(file) : exifOfWebp(file)
    return exif === undefined ? undefined : userComment(exif)
  } catch (thrown) {
    // a length that points outside of the file
    if (thrown instanceof RangeError) return undefined
    throw thrown
  }
}

/** PNG specification, sections 11.3.3.2 and 11.3.3.4; compressed texts are not written by anybody here. */
function textOfPng(file: Buffer): string | undefined {
  for (let at = 8; at + 12 <= file.length; at += 12 + file.readUInt32BE(at)) {
    const name = file.toString('latin1', at + 4, at + 8)
    if (name !== 'tEXt' && name !== 'iTXt') continue
    const data = file.subarray(at + 8, at + 8 + file.readUInt32BE(at))
    const end = data.indexOf(0)
    if (data.toString('latin1', 0, end) !== 'parameters') continue
    if (name === 'tEXt') return data.toString('latin1', end + 1)
    if (data[end + 1] !== 0) continue
    const language = data.indexOf(0, end + 3)
    const translated = data.indexOf(0, language + 1)
    if (language >= 0 && translated >= 0) return data.toString('utf8', translated + 1)
  }
  return undefined
}

function exifOfJpeg(file: Buffer): Buffer | undefined {
  for (let at = 2; at + 4 <= file.length && file[at] === 0xff; at += 2 + file.readUInt16BE(at + 2)) {
    const marker = file[at + 1]
    if (marker === 0xda) return undefined
    const data = file.subarray(at + 4, at + 2 + file.readUInt16BE(at + 2))
    if (marker === 0xe1 && data.toString('latin1', 0, 6) === 'Exif\0\0') return data.subarray(6)
  }
  return undefined
}

function exifOfWebp(file: Buffer): Buffer | undefined {
  if (file.toString('latin1', 8, 12) !== 'WEBP') return undefined
  for (let at = 12; at + 8 <= file.length; ) {
    const length = file.readUInt32LE(at + 4)
    if (file.toString('latin1', at, at + 4) === 'EXIF') return file.subarray(at + 8, at + 8 + length)
    at += 8 + length + (length % 2)
  }
  return undefined
}

const exifIfdTag = 0x87_69
const userCommentTag = 0x92_86

/** EXIF 2.32, section 4.6; the text is UTF-16 with the most significant byte first, as the web UI writes it. */
function userComment(tiff: Buffer): string | undefined {
  const little = tiff.toString('latin1', 0, 2) === 'II'
  const short = (at: number) => (little ? tiff.readUInt16LE(at) : tiff.readUInt16BE(at))
  const long = (at: number) => (little ? tiff.readUInt32LE(at) : tiff.readUInt32BE(at))
  const entry = (ifd: number, tag: number) => {
    for (let i = 0; i < short(ifd); i += 1) {
      const at = ifd + 2 + 12 * i
      if (short(at) === tag) return { count: long(at + 4), value: long(at + 8) }
    }
    return undefined
  }
  const exif = entry(long(4), exifIfdTag)
  const comment = exif === undefined ? undefined : entry(exif.value, userCommentTag)
  if (comment === undefined) return undefined
  const data = tiff.subarray(comment.value, comment.value + comment.count)
  const kind = data.toString('latin1', 0, 8)
  if (kind === 'ASCII\0\0\0') return data.toString('latin1', 8)
  if (kind !== 'UNICODE\0') return undefined
  const text = Buffer.from(data.subarray(8, data.length - (data.length % 2)))
  return text.swap16().toString('utf16le')
}
