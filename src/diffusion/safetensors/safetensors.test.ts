import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { rm, symlink, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { tempFolder } from '../../../test/cleanup.ts'
import { Weights } from '../checkpoint/weights.ts'
import { CheckpointError } from '../errors.ts'
import { NumberReader } from './numbers.ts'
import { openSafetensors, readRows, smallTensor, toFloat32 } from './safetensors.ts'

type Header = Record<string, unknown>

function fileOf(header: Header | string, data: Uint8Array, claimed?: number): Buffer {
  const text = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header))
  const prefix = Buffer.alloc(8)
  prefix.writeBigUInt64LE(BigInt(claimed ?? text.length))
  return Buffer.concat([prefix, text, data])
}

const good = {
  __metadata__: { format: 'pt' },
  'a.weight': { dtype: 'F32', shape: [2, 2], data_offsets: [0, 16] },
  'b.bias': { dtype: 'F16', shape: [3], data_offsets: [16, 22] },
}
const data = Buffer.concat([
  Buffer.from(new Float32Array([1, 2, 3, 4]).buffer),
  Buffer.from(new Float16Array([0.5, -1, 2]).buffer),
])

async function written(t: TestContext, content: Uint8Array): Promise<string> {
  const path = join(tempFolder(t), 'model.safetensors')
  await writeFile(path, content)
  return path
}

test('a header gives keys, shapes and absolute offsets', async (t) => {
  const file = await openSafetensors(await written(t, fileOf(good, data)))
  assert.deepEqual([...file.tensors.keys()].sort(), ['a.weight', 'b.bias'])
  const begin = 8 + Buffer.byteLength(JSON.stringify(good))
  assert.equal(file.tensors.get('b.bias')?.offset, begin + 16)
  assert.equal(file.tensors.get('b.bias')?.length, 6)
  const rows = await readRows(file, file.tensors.get('a.weight')!, [1, 0, 1])
  assert.deepEqual([...rows], [3, 4, 1, 2, 3, 4])
})

test('a small tensor is read once, and a file that is gone or shorter by then is refused by name', async (t) => {
  const path = await written(t, fileOf(good, data))
  const [file, late, later] = await Promise.all([1, 2, 3].map(() => openSafetensors(path)))
  const [bias, weight] = ['b.bias', 'a.weight'].map((key) => file!.tensors.get(key)!)
  assert.deepEqual([...smallTensor(file!, bias!)], [0.5, -1, 2])
  await truncate(path, bias!.offset + 2)
  const shorter = { name: 'CheckpointError', message: /model.*became shorter/ }
  assert.throws(() => smallTensor(late!, bias!), shorter)
  await assert.rejects(
    NumberReader.with(late!, (reader) => reader.read(bias!)),
    shorter,
  )
  assert.deepEqual([...smallTensor(late!, weight!)], [1, 2, 3, 4])
  await rm(path)
  assert.throws(() => smallTensor(later!, weight!), { name: 'CheckpointError', message: /model.*is missing/ })
  assert.deepEqual([...smallTensor(file!, bias!)], [0.5, -1, 2])
})

test('a symbolic link is resolved, because ONNX Runtime refuses those that leave a folder', async (t) => {
  const path = await written(t, fileOf(good, data))
  await symlink(path, `${path}.link`)
  assert.equal((await openSafetensors(`${path}.link`)).name, 'model.safetensors')
})

test('half, brain and double floats widen to float32', () => {
  assert.deepEqual([...toFloat32(new Uint8Array(new Float16Array([1.5, -2]).buffer), 'F16')], [1.5, -2])
  assert.deepEqual(
    [...toFloat32(new Uint8Array(new Uint16Array([0x3fc0, 0xc000]).buffer), 'BF16')],
    [1.5, -2],
  )
  assert.deepEqual([...toFloat32(new Uint8Array(new Float64Array([1.5, -2]).buffer), 'F64')], [1.5, -2])
  assert.throws(() => toFloat32(new Uint8Array(8), 'I64'), /I64/)
})

const tensor = (fields: Header) => ({ t: { dtype: 'F32', shape: [4], data_offsets: [0, 16], ...fields } })
const sixteen = Buffer.alloc(16)
const faults: Record<string, [Uint8Array, RegExp]> = {
  'an empty file': [Buffer.alloc(0), /the file is empty/],
  'a file of five bytes': [Buffer.from([1, 2, 3, 4, 5]), /5 bytes are too few/],
  'a header longer than the file': [
    fileOf('{}', Buffer.alloc(0), 1000),
    /claims 1000 bytes, but the file has 10/,
  ],
  'a header of more than 10 MB': [
    fileOf('{}', Buffer.alloc(0), 10_000_001),
    /claims 10000001 bytes, but the limit is/,
  ],
  'a header that is not JSON': [fileOf('{"a":', sixteen), /not JSON/],
  'a header that is a list': [fileOf('[]', Buffer.alloc(0)), /not a JSON object/],
  'a truncated file': [fileOf(tensor({}), Buffer.alloc(10)), /"t" ends at byte \d+, but the file has \d+/],
  'offsets out of range': [
    fileOf(tensor({ data_offsets: [16, 32] }), sixteen),
    /unused bytes before tensor "t"/,
  ],
  'negative offsets': [fileOf(tensor({ data_offsets: [-16, 0] }), sixteen), /data_offsets \[-16,0\]/],
  'a size that does not fit the shape': [fileOf(tensor({ shape: [5] }), sixteen), /F32 \[5\] needs 20 bytes/],
  'a dtype that is no name': [
    fileOf(tensor({ dtype: 'F 13' }), sixteen),
    /dtype "F 13"; it must be the name/,
  ],
  'offsets in the wrong order': [
    fileOf(tensor({ dtype: 'F13', data_offsets: [16, 0] }), sixteen),
    /data_offsets \[16,0\]/,
  ],
  'a shape that is no shape': [fileOf(tensor({ shape: ['4'] }), sixteen), /has shape \["4"\]/],
  'overlapping tensors': [
    fileOf({ ...tensor({}), u: { dtype: 'F32', shape: [2], data_offsets: [8, 16] } }, sixteen),
    /overlaps/,
  ],
  'bytes after the last tensor': [fileOf(tensor({}), Buffer.alloc(20)), /4 bytes belong to no tensor/],
  'a tensor that is no object': [fileOf({ t: 7 }, sixteen), /"t" has no description/],
  'a key that is there twice': [
    fileOf(
      `{"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"t":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}`,
      sixteen,
    ),
    /the header contains "t" twice/,
  ],
  'a key that is there twice, once in disguise': [
    fileOf(`{"t" :{"dtype":"F32","shape":[4],"data_offsets":[0,16]}, "\\u0074":7}`, sixteen),
    /the header contains "t" twice/,
  ],
  'a field that is there twice': [
    fileOf(`{"t":{"dtype":"F32","shape":[2],"shape":[4],"data_offsets":[0,16]}}`, sixteen),
    /the header contains "shape" twice/,
  ],
  'a header nested a million times': [fileOf(`{"t":${'['.repeat(1e6)}`, sixteen), /nested too deeply/],
  'a header of fifteen thousand keys and more': [
    fileOf(`{${Array.from({ length: 15_001 }, (_, i) => `"${i}":0`).join()}}`, sixteen),
    /the header has more than 15000 keys/,
  ],
  'a header that is not UTF-8': [
    Buffer.concat([Buffer.from([4, 0, 0, 0, 0, 0, 0, 0]), Buffer.from([0x7b, 0x22, 0xff, 0x7d])]),
    /not JSON/,
  ],
  'a product of dims that no number holds': [
    fileOf(tensor({ shape: [2 ** 52, 2 ** 52, 2 ** 52] }), sixteen),
    /F32 \[4503599627370496, .*\] needs 3\.6\d+e\+47 bytes/,
  ],
  'a product of dims beyond all numbers, times 0': [
    fileOf(tensor({ shape: [...Array(40).fill(2 ** 52), 0] }), sixteen),
    /needs NaN bytes/,
  ],
  'metadata that is no text': [fileOf({ __metadata__: { steps: 3 } }, Buffer.alloc(0)), /"steps" is 3/],
  'metadata that is a list': [fileOf({ __metadata__: [] }, Buffer.alloc(0)), /must contain strings only/],
}

for (const [what, [content, message]] of Object.entries(faults)) {
  test(`refused by name: ${what}`, async (t) => {
    const path = await written(t, content)
    await assert.rejects(openSafetensors(path), (error: unknown) => {
      assert.ok(error instanceof CheckpointError)
      assert.match(error.message, message)
      assert.ok(error.message.startsWith(path), 'the file is named')
      return true
    })
  })
}

test('a tensor of a dtype that is newer than this program is read past, and its bytes are still checked', async (t) => {
  const newer = { dtype: 'F3_E1M1', shape: [8], data_offsets: [0, 3] }
  const known = { dtype: 'F8_E8M0', shape: [5], data_offsets: [3, 8] }
  const half = { dtype: 'F4', shape: [16], data_offsets: [8, 16] }
  const { tensors } = await openSafetensors(await written(t, fileOf({ newer, known, half }, sixteen)))
  assert.deepEqual(
    [...tensors.values()].map(({ dtype, length }) => [dtype, length]),
    [
      ['F3_E1M1', 3],
      ['F8_E8M0', 5],
      ['F4', 8],
    ],
  )
  const overlong = fileOf({ newer: { ...newer, data_offsets: [0, 17] } }, sixteen)
  await assert.rejects(openSafetensors(await written(t, overlong)), /ends at byte/)
  assert.throws(() => toFloat32(new Uint8Array(4), 'F8_E8M0'), /dtype F8_E8M0 are not supported/)
})

test('a header that is made to be searched for hours is refused at once', async (t) => {
  const entry = { dtype: 'F32', shape: [0], data_offsets: [0, 0] }
  for (const key of ['a.lora_A.'.repeat(1e5), 'down_blocks.0.'.repeat(1e5), 'x'.repeat(401)]) {
    const path = await written(t, fileOf({ [key]: entry }, Buffer.alloc(0)))
    await assert.rejects(openSafetensors(path), /the header has a key of \d+ characters/)
  }
  await openSafetensors(await written(t, fileOf({ ['x'.repeat(400)]: entry }, Buffer.alloc(0))))
  const axes = fileOf({ a: { ...entry, shape: Array(1e6).fill(0) } }, Buffer.alloc(0))
  await assert.rejects(openSafetensors(await written(t, axes)), /has shape \[0,0,/)
})

test('a name of a megabyte is not repeated in the message', async (t) => {
  const key = 'k'.repeat(1e6)
  const path = await written(t, fileOf({ [key]: { dtype: key, shape: [], data_offsets: [0, 4] } }, sixteen))
  await assert.rejects(openSafetensors(path), (error: unknown) => {
    assert.ok(error instanceof CheckpointError)
    assert.ok(error.message.length < 1000, `${error.message.length} characters`)
    return true
  })
})

test('keys that look doubled but are not', async (t) => {
  const entry = (at: number) => ({ dtype: 'U8', shape: [1], data_offsets: [at, at + 1] })
  const names = ['a', '"a"', 'a"', '\\', '\\"', '{"a":', 'shape', '__proto__', '']
  const entries = names.map((name, at) => `${JSON.stringify(name)}:${JSON.stringify(entry(at))}`)
  const path = await written(t, fileOf(`{${entries.join()}}`, Buffer.alloc(names.length)))
  assert.deepEqual([...(await openSafetensors(path)).tensors.keys()], names)
})

test('metadata is kept as it is written', async (t) => {
  const { metadata } = await openSafetensors(await written(t, fileOf(good, data)))
  assert.deepEqual([...metadata], [['format', 'pt']])
})

test('refused by name: a folder, a named pipe', async (t) => {
  await assert.rejects(openSafetensors(tempFolder(t)), /this is not a file/)
  const pipe = join(tempFolder(t), 'pipe.safetensors')
  execFileSync('mkfifo', [pipe])
  await assert.rejects(openSafetensors(pipe), /this is not a file/)
})

test('refused by name: a missing file', async () => {
  await assert.rejects(
    openSafetensors('/nowhere/model.safetensors'),
    /\/nowhere\/model.safetensors: .*missing/,
  )
})

test('weights account for every key', async (t) => {
  const weights = new Weights(await openSafetensors(await written(t, fileOf(good, data))))
  assert.throws(() => weights.take('c.weight', [1]), /weight "c.weight" is missing/)
  assert.throws(() => weights.take('a.weight', [4]), /"a.weight" has shape \[2, 2\], the model needs \[4\]/)
  weights.take('a.weight', [2, 2])
  assert.throws(() => weights.assertAllTaken(), /no place for b.bias/)
  weights.assertAllTaken(['b.'])
  weights.take('b.bias', [3])
  weights.assertAllTaken()
})
