import assert from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { tempFolder } from '../../../test/cleanup.ts'
import { contentOf, hashed, oldName, rrdbShapes, srvggShapes } from '../../../test/golden/enlarge-weights.ts'
import { pixelDifference } from '../../../test/golden/golden.ts'
import { type Content, writeSafetensors } from '../../../test/golden/parity/variants.ts'
import { readFacts } from '../checkpoint/facts.ts'
import { unusable } from '../checkpoint/usable.ts'
import type { Session } from '../runtime/session.ts'
import { SessionCache } from '../runtime/session-cache.ts'
import { tilesOf } from './tiles.ts'
import { openUpscaler } from './upscaler.ts'

const compact = srvggShapes({ num_feat: 8, num_conv: 3, upscale: 4 })
const dense = (scale: number) => rrdbShapes({ num_feat: 8, num_block: 2, num_grow_ch: 4, scale })

function noise(width: number, height: number) {
  const rgb = Uint8Array.from(hashed('noise', 3 * width * height), (value) => 127.5 * (value + 1))
  return { rgb, width, height }
}

/** Enlarges with tiles of at most so many bytes. */
async function enlarged(path: string, width: number, height: number, tileBytes?: number) {
  const sessions = new SessionCache<Session>(2 ** 31)
  const upscaler = await openUpscaler({
    path,
    provider: 'cpu',
    threads: 1,
    sessions,
    ...(tileBytes !== undefined && { tileBytes }),
  })
  let tiles = 0
  try {
    const made = await upscaler.enlarge(noise(width, height), { onTile: () => (tiles += 1) })
    return { ...made, tiles, bytes: upscaler.bytes }
  } finally {
    await upscaler.close()
    assert.equal(sessions.bytes(), 0)
  }
}

for (const [name, shapes, scale] of [
  ['SRVGG', compact, 4],
  ['RRDBNet by 4', dense(4), 4],
  ['RRDBNet by 2, sides not even', dense(2), 2],
] as const) {
  test(`tiles in bounded memory equal the whole picture within 1/255: ${name}`, async (t) => {
    const path = join(tempFolder(t), 'up.safetensors')
    writeSafetensors(path, contentOf(shapes))
    const [width, height] = [171, 133]
    const whole = await enlarged(path, width, height)
    const tiled = await enlarged(path, width, height, whole.bytes / 2)
    assert.deepEqual([whole.width, whole.height, whole.tiles], [width * scale, height * scale, 1])
    assert.ok(tiled.tiles > 3, `${tiled.tiles} tiles`)
    assert.ok(tiled.bytes <= whole.bytes / 2)
    assert.ok(pixelDifference(tiled.rgb, whole.rgb) <= 1)
    assert.ok(new Set(whole.rgb).size > 50, 'a picture with something in it')
  })
}

test('a picture of one pixel is enlarged, also by a network that wants even sides', async (t) => {
  const path = join(tempFolder(t), 'up.safetensors')
  writeSafetensors(path, contentOf(dense(2)))
  const { width, height, rgb } = await enlarged(path, 1, 1)
  assert.deepEqual([width, height, rgb.length], [2, 2, 12])
})

test('it stops before a tile, and fails when its file has gone', async (t) => {
  const path = join(tempFolder(t), 'up.safetensors')
  writeSafetensors(path, contentOf(compact))
  const upscaler = await openUpscaler({
    path,
    provider: 'cpu',
    threads: 1,
    sessions: new SessionCache<Session>(2 ** 30),
  })
  await assert.rejects(upscaler.enlarge(noise(8, 8), { signal: { aborted: true } }), /stopped before tile 1/)
  await rm(path)
  await assert.rejects(upscaler.enlarge(noise(8, 8)), /was removed/)
})

test('tiles cover a line once, and show the network the overlap on both sides', () => {
  for (const [length, tile, overlap] of [
    [100, 100, 10],
    [101, 100, 10],
    [1000, 64, 16],
    [7, 100, 3],
  ] as const) {
    let end = 0
    for (const { start, from, to } of tilesOf(length, tile, overlap)) {
      assert.equal(from, end)
      assert.ok(from === 0 || from - start >= overlap)
      assert.ok(to === length || start + tile - to >= overlap)
      assert.ok(start >= 0 && (start + tile <= length || tile >= length) && to > from)
      end = to
    }
    assert.equal(end, length)
  }
})

const broken = (change: (content: Content) => void): Content => {
  const content = contentOf(dense(4))
  change(content)
  return content
}
const renamed = (from: RegExp, to: string) => {
  const { tensors, metadata } = contentOf(dense(4))
  return { tensors: new Map([...tensors].map(([key, value]) => [key.replace(from, to), value])), metadata }
}

for (const [name, content, reason] of [
  [
    'SwinIR',
    renamed(/^conv_body/, 'layers.0.residual_group.blocks.0.attn.qkv'),
    /kind SwinIR, which cannot be used/,
  ],
  ['HAT', renamed(/^conv_body/, 'layers.0.residual_group.overlap_attn.qkv'), /kind HAT/],
  ['DAT', renamed(/^conv_body/, 'before_RG.1'), /kind DAT/],
  ['no slopes', contentOf(compact, (key) => (/\.\d*[13579]\./.test(key) ? undefined : key)), /no slopes/],
  ['a missing layer', broken(({ tensors }) => tensors.delete('body.1.rdb3.conv5.weight')), /is missing/],
  ['a layer too many', renamed(/^conv_hr\.bias/, 'conv_hx.bias'), /is missing/],
  [
    'one channel',
    contentOf(dense(4).map(([key, shape]) => [key, key === 'conv_first.weight' ? [8, 1, 3, 3] : shape])),
    /channels; only RGB/,
  ],
] as const) {
  test(`a file that cannot enlarge is refused with the reason: ${name}`, async (t) => {
    const path = join(tempFolder(t), 'up.safetensors')
    writeSafetensors(path, content)
    const open = openUpscaler({
      path,
      provider: 'cpu',
      threads: 1,
      sessions: new SessionCache<Session>(2 ** 30),
    })
    await assert.rejects(open, reason)
  })
}

test('facts: what an upscaler is, how much it enlarges and what that costs', async (t) => {
  const path = join(tempFolder(t), 'up.safetensors')
  writeSafetensors(path, contentOf(dense(4), oldName(2)))
  const facts = await readFacts(path)
  assert.equal(facts.description, 'an upscaler (RRDBNet)')
  assert.equal(unusable(path, facts, 'upscaler'), undefined)
  assert.match(
    unusable(path, facts, 'vae')?.reason ?? '',
    /an upscaler .* put it in upscalers\/ in the models folder/,
  )
  assert.ok(!(facts.addOn instanceof Error) && facts.addOn?.upscaler?.scale === 4)
  assert.ok(facts.addOn.upscaler.work > facts.parameters / 1e6)
  await assert.rejects(
    openUpscaler({
      path: `${path}.pth`,
      provider: 'cpu',
      threads: 1,
      sessions: new SessionCache<Session>(1),
    }),
    /pickle/,
  )
})
