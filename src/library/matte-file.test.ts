import assert from 'node:assert/strict'
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { tempFolder } from '../../test/cleanup.ts'
import { tinyCheckpoint } from '../../test/golden/parity/variants.ts'
import { models } from '../../test/models/command.ts'
import { Graph } from '../diffusion/graph/graph.ts'
import { withoutWeights } from '../diffusion/graph/without-weights.ts'
import { builtInMatte } from '../diffusion/matte/matte.ts'
import { AppError } from '../jobs/errors.ts'
import { matteFile } from './matte-file.ts'

/** A file in the ONNX format that classifies pictures. */
function classifier(): Uint8Array {
  const g = new Graph('kinds', withoutWeights())
  const x = g.input('picture', [1, 3, 32, 32])
  g.output('scores', g.op('Conv', [x, g.constant('w', Array(3072).fill(0), [1, 3, 32, 32])], [1, 1, 1, 1]))
  return g.serialize()
}

test('a matting network is put where it belongs, listed, verified, chosen and removed', async (t) => {
  const dir = tempFolder(t)
  const source = join(dir, 'isnet (2).onnx')
  copyFileSync(builtInMatte, source)
  const added = await models(dir, ['add', source, '--name', 'cut out'])
  assert.equal(added.status, 0, added.stderr)
  assert.match(added.stdout, /^Added matte cut out: .*matte.cut out\.onnx\nSHA-256/)
  const { stdout } = await models(dir, ['list'])
  assert.match(stdout, /^matte +cut out {2}any, F32, \d\.\d MB$/m)
  assert.match(
    stdout,
    /CANNOT BE USED: this is a matting network \(Packshot\), not a model; put it in matte\//,
  )
  assert.match((await models(dir, ['verify', 'cut out'])).stdout, /^matte cut out: good$/m)
  const file = await matteFile({ matte: 'Cut Out', modelsDir: dir })
  assert.equal(file, join(dir, 'matte/cut out.onnx'))
  assert.equal((await models(dir, ['remove', 'cut out'])).status, 0)
  assert.ok(!existsSync(file))
})

test('what is no complete matting network is refused with the reason, and leaves nothing', async (t) => {
  const dir = tempFolder(t)
  const whole = readFileSync(builtInMatte)
  const cases: [string, Uint8Array, RegExp][] = [
    ['cut.onnx', whole.subarray(0, whole.length / 2), /no complete ONNX file: it is truncated, damaged/],
    ['scores.onnx', classifier(), /this is no matting network: its answer has 1 numbers/],
    ['page.onnx', Buffer.from('<html>log in</html>'), /this is a web page/],
  ]
  for (const [name, bytes, reason] of cases) {
    const source = join(dir, name)
    writeFileSync(source, bytes)
    const { status, stderr } = await models(dir, ['add', source, '--kind', 'matte'])
    assert.equal(status, 1)
    assert.match(stderr, reason)
    assert.ok(!existsSync(join(dir, 'matte')))
  }
  mkdirSync(join(dir, 'matte'))
  copyFileSync(tinyCheckpoint, join(dir, 'matte/tiny.safetensors'))
  writeFileSync(join(dir, 'matte/cut.onnx'), whole.subarray(0, 5000))
  const { stdout } = await models(dir, ['list', '--kind', 'matte'])
  assert.match(
    stdout,
    /tiny .*\n +CANNOT BE USED: .*not a matting network; put it in the models folder itself/,
  )
  assert.match(stdout, /cut .*\n +CANNOT BE USED: .*truncated/)
})

test('the setting names the built-in network, one of the folder, or a path; anything else is said with what there is', async (t) => {
  const dir = tempFolder(t)
  const chosen = (matte: string) => matteFile({ matte, modelsDir: dir })
  assert.equal(await chosen('packshot-matte'), builtInMatte)
  assert.equal(await chosen('/somewhere/u2net.onnx'), '/somewhere/u2net.onnx')
  mkdirSync(join(dir, 'matte'))
  writeFileSync(join(dir, 'matte/half.onnx'), readFileSync(builtInMatte).subarray(0, 5000))
  assert.equal(await chosen('HALF'), join(dir, 'matte/half.onnx'))
  await assert.rejects(chosen('other'), (thrown) => {
    assert.ok(thrown instanceof AppError && thrown.code === 'model_invalid')
    assert.match(
      thrown.detail ?? '',
      /no matting network other in .*; there are packshot-matte, half\. Set PACKSHOT_MATTE/,
    )
    return true
  })
})
