import { crc32, deflateSync } from 'node:zlib'

/** A picture of the given size: a red ball on grey paper. */
export function ballPng(width: number, height: number): Uint8Array {
  const rows = Buffer.alloc(height * (1 + width * 3))
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      rows.set(colourAt((x + 0.5) / width - 0.5, (y + 0.5) / height - 0.5), y * (1 + width * 3) + 1 + x * 3)
    }
  }
  const head = Buffer.alloc(13)
  head.writeUInt32BE(width, 0)
  head.writeUInt32BE(height, 4)
  head.set([8, 2, 0, 0, 0], 8)
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])
  return Buffer.concat([
    signature,
    chunk('IHDR', head),
    chunk('IDAT', deflateSync(rows)),
    chunk('IEND', Buffer.alloc(0)),
  ])
}

function colourAt(x: number, y: number): [number, number, number] {
  const fromCentre = Math.hypot(x, y)
  if (fromCentre < 0.3) {
    const light = 1 - Math.hypot(x + 0.1, y + 0.12) * 1.3
    return [90 + 130 * light, 40 * light, 35 * light]
  }
  const shadow = Math.exp(-(((x - 0.04) / 0.28) ** 2) - ((y - 0.31) / 0.05) ** 2)
  const paper = 236 - 26 * fromCentre - 90 * shadow
  return [paper, paper - 2, paper - 5]
}

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data])
  const [length, check] = [Buffer.alloc(4), Buffer.alloc(4)]
  length.writeUInt32BE(data.length)
  check.writeUInt32BE(crc32(body))
  return Buffer.concat([length, body, check])
}
