import { parseArgs } from 'node:util'
import sharp from 'sharp'

/**
 * The first picture of the README: asks a running Packshot for a few finished products and puts them on one sheet.
 *
 *   node scripts/packshots.ts http://127.0.0.1:8080 docs/packshots.jpg
 */
const products = [
  ['a red apple on a white background, soft light', 3],
  ['a pineapple on a white background', 3],
  ['a bottle of orange juice on a white background', 1],
  ['a lemon on a white background', 3],
  ['a mug, blue, on a white background', 3],
  ['a pumpkin on a white background', 2],
  ['a green bell pepper on a white background', 2],
  ['a pink cupcake on a white background', 3],
] as const
const finish = { preset: 'shop_square', width: 1600, height: 1600 }
const [columns, side] = [4, 400]

const { positionals } = parseArgs({ allowPositionals: true })
const [address, file] = positionals
if (!address || !file) throw new Error('usage: node scripts/packshots.ts <address> <file>')

const tiles: Buffer[] = []
for (const [prompt, seed] of products) {
  const answer = await fetch(new URL('/v1/jobs', address), {
    method: 'POST',
    headers: { 'content-type': 'application/json', prefer: 'wait=60' },
    body: JSON.stringify({ prompt, seed, finish }),
  })
  const job = (await answer.json()) as { images?: { url: string }[]; error?: unknown }
  const url = job.images?.[0]?.url
  if (url === undefined) throw new Error(`${prompt}: ${JSON.stringify(job.error ?? job)}`)
  const picture = await (await fetch(new URL(url, address))).arrayBuffer()
  tiles.push(await sharp(picture).resize(side, side).toBuffer())
}
const rows = Math.ceil(tiles.length / columns)
await sharp({ create: { width: columns * side, height: rows * side, channels: 3, background: '#ffffff' } })
  .composite(
    tiles.map((input, index) => ({
      input,
      left: (index % columns) * side,
      top: Math.floor(index / columns) * side,
    })),
  )
  .jpeg({ quality: 86 })
  .toFile(file)
