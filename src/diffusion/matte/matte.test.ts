import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { CheckpointError } from '../errors.ts'
import { Graph, type Value } from '../graph/graph.ts'
import { tensorHeader } from '../graph/messages.ts'
import { ProtobufWriter } from '../graph/protobuf.ts'
import { withoutWeights } from '../graph/without-weights.ts'
import type { Picture } from '../request.ts'
import { builtInMatte, openMatte } from './matte.ts'

/** A network whose mask is factor x red + shift of its own input: it shows how pictures are given to it. */
function network(
  side: number,
  { factor = 1, shift = 0, attends = false, gives = 1, takes = 3 } = {},
): Uint8Array {
  const g = new Graph('mask', withoutWeights())
  const x = g.input('picture', [1, takes, side, side])
  const weights = Array.from({ length: gives * takes }, (_, i) => (i % takes === 0 ? factor : 0))
  let y: Value = g.op('Conv', [x, g.constant('w', weights, [gives, takes, 1, 1])], [1, gives, side, side])
  y = g.op('Add', [y, g.constant('b', [shift], [1])], y.dims)
  if (attends) {
    // over one channel: 1 everywhere
    const ones = g.op('Softmax', [y], y.dims, { axis: 1 })
    y = g.op('Mul', [y, ones], y.dims)
  }
  g.output('mask', y)
  return g.serialize()
}

/** Columns of grey. */
function columns(levels: readonly number[], width: number, height: number): Picture {
  const rgb = new Uint8Array(3 * width * height)
  for (let i = 0; i < width * height; i++) {
    rgb.fill(levels[Math.floor(((i % width) * levels.length) / width)]!, 3 * i, 3 * i + 3)
  }
  return { rgb, width, height }
}

const dir = mkdtempSync(join(tmpdir(), 'packshot-matte-'))
after(() => rmSync(dir, { recursive: true }))

function at(name: string, bytes: Uint8Array): string {
  const path = join(dir, name)
  writeFileSync(path, bytes)
  return path
}

async function masked(path: string, picture: Picture): Promise<Uint8Array> {
  const matte = await openMatte(path, { threads: 1 })
  try {
    return await matte.alpha(picture)
  } finally {
    await matte.close()
  }
}

/** The value in the middle of each column. */
const middles = (mask: Uint8Array, { width, height }: Picture, count: number) =>
  Array.from(
    { length: count },
    (_, i) => mask[Math.floor(height / 2) * width + Math.floor(((i + 0.5) * width) / count)]!,
  )

describe('conventions of published networks', () => {
  const picture = columns([0, 100, 200], 600, 500)

  test('U2-Net gets 320 pixels, divided by the largest value, with the mean and deviation of ImageNet; its answer is spread', async () => {
    const path = at('u2net.onnx', network(320, { factor: 0.229 * 0.8, shift: 0.485 * 0.8 + 0.1 }))
    assert.deepEqual(middles(await masked(path, picture), picture, 3), [0, 128, 255])
  })

  test('IS-Net gets 1024 pixels around zero', async () => {
    const path = at('isnet.onnx', network(1024, { shift: 0.5 }))
    const [low, middle, high] = middles(await masked(path, picture), picture, 3)
    // 0 to 200 of 255, spread; a tenth of a level is lost to "none" and "all"
    assert.deepEqual([low, middle, high], [0, 128, 255])
  })

  test('BiRefNet is told from it by its attention; what is not within 0 and 1 goes through a sigmoid', async () => {
    const grey = columns([124], 64, 64)
    const path = at('birefnet.onnx', network(1024, { factor: 0.229, shift: 0.485, attends: true }))
    assert.ok(Math.abs(middles(await masked(path, grey), grey, 1)[0]! - 124) <= 1)
    const logits = at('logits.onnx', network(1024, { factor: 5, attends: true }))
    assert.deepEqual(middles(await masked(logits, picture), picture, 3), [0, 23, 255])
  })
})

test('a picture with nothing in it is not spread into a product', async () => {
  const path = at('faint.onnx', network(320, { factor: 0.01, shift: 0.1 }))
  const mask = await masked(path, columns([100, 200], 64, 64))
  assert.ok(mask.every((value) => value < 40))
})

test('the built-in network takes any size; the mask has the size of the picture', async () => {
  const matte = await openMatte(builtInMatte, { threads: 1 })
  for (const [width, height] of [
    [1, 1],
    [7, 300],
    [256, 256],
    [900, 410],
  ] as const) {
    const mask = await matte.alpha(columns([250, 30, 250], width, height))
    assert.equal(mask.length, width * height)
  }
  assert.equal(matte.family, 'Packshot')
  await matte.close()
})

describe('a file is refused', () => {
  const refusals: readonly (readonly [string, () => Uint8Array, RegExp])[] = [
    ['empty', () => new Uint8Array(), /the file is empty/],
    ['of another format', () => Buffer.from('\x80\x04}q\x00.', 'latin1'), /this is a pickle/],
    ['a web page', () => Buffer.from('<!doctype html><title>Log in</title>'), /this is a web page/],
    ['random', () => Buffer.from('f3a1c09b77e25d', 'hex'), /no complete ONNX file/],
    [
      'with several masks',
      () => network(64, { gives: 4 }),
      /it gives "mask" \(1 x 4 x 64 x 64\), not one mask/,
    ],
    [
      'for grey pictures',
      () => network(64, { takes: 1 }),
      /it takes "picture" \(1 x 1 x 64 x 64\), not one picture/,
    ],
    ['of too large pictures', () => network(4096), /its pictures are 4096 x 4096; 32 to 2048/],
    ['whose weights are elsewhere', withWeightsElsewhere, /its weights are in other files/],
  ]
  for (const [what, bytes, message] of refusals) {
    test(what, async () => {
      const path = at('refused.onnx', bytes())
      await assert.rejects(openMatte(path), (thrown) => {
        assert.ok(thrown instanceof CheckpointError)
        assert.match(thrown.message, message)
        assert.ok(!thrown.reason.includes(dir), 'a reason has no path')
        return true
      })
    })
  }

  test('truncated anywhere', async () => {
    const whole = readFileSync(builtInMatte)
    for (const share of [0.001, 0.2, 0.5, 0.999]) {
      const path = at('truncated.onnx', whole)
      truncateSync(path, Math.floor(whole.length * share))
      await assert.rejects(openMatte(path), /truncated, damaged or of another kind/, String(share))
    }
  })

  test('missing', async () => {
    await assert.rejects(openMatte(join(dir, 'none.onnx')), /missing or not readable/)
  })
})

/** As exporters write networks of more than two gigabytes: ONNX Runtime would open the file that is named. */
function withWeightsElsewhere(): Uint8Array {
  const weight = tensorHeader('w', [1], 1)
    .message(13, new ProtobufWriter().string(1, 'location').string(2, '../../../etc/passwd'))
    .int(14, 1)
  const graph = new ProtobufWriter().message(5, weight)
  return Buffer.concat([network(64), new ProtobufWriter().message(7, graph).finish()])
}
