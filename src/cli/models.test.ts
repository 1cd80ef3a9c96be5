import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  closeSync,
  cpSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { lastFirst, tempFolder } from '../../test/cleanup.ts'
import { tinyCheckpoint } from '../../test/golden/parity/variants.ts'
import { ownEnvironment } from '../../test/kit/own-environment.ts'
import { models, visible } from '../../test/models/command.ts'
import { Library } from '../library/library.ts'

/** `npm run models` with files on this machine. */

const golden = join(import.meta.dirname, '../../test/golden')
const tinyFolder = join(golden, 'tiny-sd')
const lora = join(golden, 'parity/loras/picture-a.safetensors')
const embedding = join(golden, 'parity/embeddings/tinyneg.safetensors')
const hash = createHash('sha256').update(readFileSync(tinyCheckpoint)).digest('hex')

test('a file, a folder, a LoRA and an embedding find their places, and sha256sum agrees', async (t) => {
  const dir = join(tempFolder(t), 'models')
  const added = await models(dir, ['add', tinyCheckpoint])
  assert.equal(added.status, 0, added.stderr)
  assert.match(added.stdout, /^Added model tiny-fp16: .*tiny-fp16\.safetensors\nSHA-256 [0-9a-f]{64}\n$/)
  assert.equal((await models(dir, ['add', tinyFolder, '--name', 'tiny folder'])).status, 0)
  assert.equal((await models(dir, ['add', lora])).status, 0)
  assert.equal((await models(dir, ['add', embedding])).status, 0)
  assert.deepEqual(
    visible(dir, { recursive: true }).filter((path) => !path.includes('tiny folder/')),
    [
      'embeddings',
      'embeddings/tinyneg.safetensors',
      'embeddings/tinyneg.sha256',
      'loras',
      'loras/picture-a.safetensors',
      'loras/picture-a.sha256',
      'tiny folder',
      'tiny folder.sha256',
      'tiny-fp16.safetensors',
      'tiny-fp16.sha256',
    ],
  )
  assert.equal(readFileSync(join(dir, 'tiny-fp16.sha256'), 'utf8'), `${hash}  tiny-fp16.safetensors\n`)
  assert.match(
    readFileSync(join(dir, 'tiny folder.sha256'), 'utf8'),
    / {2}tiny folder\/unet\/diffusion_pytorch_model\.safetensors\n/,
  )

  const { stdout } = await models(dir, ['list'])
  assert.deepEqual(
    stdout.split('\n').map((line) => line.replace(/ +/g, ' ')),
    [
      'model tiny folder sd1, F16, 2.7 MB',
      'model tiny-fp16 sd1, F16, 2.1 MB',
      'embedding tinyneg sd1, F32, 0.5 kB',
      'lora picture-a sd1, F16, 43.8 kB',
      '',
    ],
  )
  const shown = await models(dir, ['show', 'TINY-fp16'])
  assert.match(
    shown.stdout,
    new RegExp(
      `family +sd1\\n.*dtype +F16\\n.*parameters +[\\d.]+ million in 967 tensors\\n.*SHA-256 +${hash}`,
      's',
    ),
  )
  const verified = await models(dir, ['verify'])
  assert.equal(verified.status, 0, verified.stdout)
  assert.match(
    verified.stdout,
    /^model tiny folder: good\nmodel tiny-fp16: good\nembedding tinyneg: good\nlora picture-a: good\n$/,
  )

  assert.equal((await models(dir, ['remove', 'tiny folder'])).status, 0)
  assert.equal((await models(dir, ['remove', 'tiny-fp16'])).status, 0)
  assert.deepEqual(visible(dir), ['embeddings', 'loras'])
})

test('show says what a model says of itself, or what is wrong with that', async (t) => {
  const dir = tempFolder(t)
  cpSync(tinyCheckpoint, join(dir, 'mine.safetensors'))
  assert.doesNotMatch((await models(dir, ['show', 'mine'])).stdout, /about|draws|problem/)
  const subjects = Array.from({ length: 32 }, (_, i) => `thing ${i}`)
  writeFileSync(join(dir, 'mine.json'), JSON.stringify({ description: 'Trained on fruit.', subjects }))
  const { stdout } = await models(dir, ['show', 'mine'])
  assert.match(stdout, /\n {2}about +Trained on fruit\.\n {2}draws +thing 0, .*, thing 29 and 2 more\n/)
  writeFileSync(
    join(dir, 'mine.json'),
    '{"description": "", "notes": "of another program", "subjects": "apple"}',
  )
  const foreign = await models(dir, ['list'])
  assert.match(foreign.stdout, /note: .*mine\.json: "notes" are not Packshot's, and are passed over\n/)
  assert.match(foreign.stdout, /note: .*mine\.json: "subjects" is "apple"; .*; it is passed over\n/)
  assert.doesNotMatch(foreign.stdout, /CANNOT/)
  writeFileSync(join(dir, 'mine.json'), '{"prediction_type": "v"}')
  const faulty = await models(dir, ['show', 'mine'])
  assert.equal(faulty.status, 0)
  assert.match(faulty.stdout, /problem +.*mine\.json: "prediction_type" is "v"/)
  const verified = await models(dir, ['verify', 'mine'])
  assert.equal(verified.status, 1)
  assert.match(verified.stdout, /mine\.json: "prediction_type" is "v"/)
})

test('verify finds a changed file, a damaged one, and one that is not there any more', async (t) => {
  const dir = tempFolder(t)
  await models(dir, ['add', tinyCheckpoint, '--name', 'one'])
  const bytes = readFileSync(tinyCheckpoint)
  bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1
  writeFileSync(join(dir, 'one.safetensors'), bytes)
  const changed = await models(dir, ['verify', 'one'])
  assert.equal(changed.status, 1)
  assert.match(
    changed.stdout,
    new RegExp(`model one: BAD\\n.*has the SHA-256 [0-9a-f]{64}, but it had ${hash} when it was added`),
  )
  const notANumber = Buffer.from(bytes)
  notANumber.writeUInt16LE(0x7e00, bytes.length - 2)
  writeFileSync(join(dir, 'two.safetensors'), notANumber)
  const { stdout } = await models(dir, ['verify', 'two'])
  assert.match(stdout, /model two: BAD\n.*weight ".*" has an infinite or NaN value/)
  writeFileSync(join(dir, 'three.safetensors'), bytes)
  assert.match((await models(dir, ['verify', 'three'])).stdout, /good \(no hash was recorded/)
})

test('what cannot be used is listed with its problem and keeps nothing else from being listed', async (t) => {
  const dir = tempFolder(t)
  for (const folder of ['vae', 'embeddings', 'loras', 'half.partial', '.hidden', 'empty'])
    mkdirSync(join(dir, folder))
  cpSync(tinyCheckpoint, join(dir, 'good.safetensors'))
  cpSync(lora, join(dir, 'misplaced.safetensors'))
  cpSync(tinyCheckpoint, join(dir, 'vae/model.safetensors'))
  cpSync(embedding, join(dir, 'embeddings/neg.safetensors'))
  cpSync(embedding, join(dir, 'embeddings/NEG.safetensors'))
  writeFileSync(join(dir, 'cut.safetensors'), readFileSync(tinyCheckpoint).subarray(0, 100_000))
  writeFileSync(join(dir, 'old.ckpt'), 'PK')
  writeFileSync(join(dir, 'bad:name.safetensors'), readFileSync(tinyCheckpoint))
  writeFileSync(join(dir, 'rest.partial'), 'some bytes')
  symlinkSync(join(dir, 'nowhere'), join(dir, 'dangling.safetensors'))
  const { status, stdout } = await models(dir, ['list'])
  assert.equal(status, 0)
  const problem = (name: string) =>
    new RegExp(`\\b${name} .*\\n +CANNOT BE USED: (.*)`).exec(stdout)?.[1] ?? ''
  assert.match(stdout, /^model +good {2}sd1, F16, 2\.1 MB\nmodel/m)
  assert.match(
    problem('misplaced'),
    /^this is a LoRA for Stable Diffusion 1\.x, not a model; put it in loras\//,
  )
  assert.match(problem('cut'), /cut\.safetensors: /)
  assert.match(problem('old'), /old\.ckpt: this is a pickle: it can run code/)
  assert.match(problem('empty'), /model_index\.json/)
  assert.match(problem('bad:name'), /characters that are not allowed.*rename it/)
  assert.match(problem('neg'), /neg\.safetensors and NEG\.safetensors have the same name/)
  assert.match(problem('NEG'), /have the same name/)
  assert.match(
    stdout,
    /vae +model .*\n +CANNOT BE USED: this is Stable Diffusion 1\.x, not a VAE; put it in the models folder/,
  )
  assert.match(stdout, /partial +rest\.partial {2}0\.0 kB: unfinished; add it again to resume, or remove it/)
  assert.ok(!stdout.includes('hidden') && !stdout.includes('dangling'))

  assert.equal((await models(dir, ['remove', 'rest'])).status, 0)
  assert.ok(!existsSync(join(dir, 'rest.partial')))
})

test('a file of a refused format takes no name from the file that replaces it', async (t) => {
  const dir = tempFolder(t)
  for (const name of ['x.ckpt', 'x.zip']) writeFileSync(join(dir, name), 'PK')
  assert.equal((await models(dir, ['add', tinyCheckpoint, '--name', 'x'])).status, 0)
  const { stdout } = await models(dir, ['list'])
  assert.match(stdout, /^model +x {2}sd1, F16, 2\.1 MB$/m)
  assert.match(stdout, /CANNOT BE USED: .*x\.ckpt: this is a pickle/)
  assert.match(stdout, /CANNOT BE USED: .*x\.zip: this is an archive/)
  const { models: offered } = await new Library({ model: 'x', modelsDir: dir }).read()
  assert.deepEqual(
    offered.map(({ name }) => name),
    ['x', 'packshot-mini'],
  )
  assert.match((await models(dir, ['remove', 'x'])).stderr, /Several entries have the name x: .*file name/)
  assert.equal((await models(dir, ['remove', 'x.ckpt'])).stdout, 'Removed model x.\n')
  assert.equal((await models(dir, ['verify', 'x.safetensors'])).stdout, 'model x: good\n')
})

const refusals: Record<string, [string[], RegExp]> = {
  'nothing to do': [[], /^Usage: npm run models/],
  'an unknown command': [['install', 'x'], /^Usage/],
  'a source that is nothing': [
    ['add', 'no such file'],
    /is not an existing file or folder, an https URL or a Hugging Face id/,
  ],
  'a name that leads elsewhere': [
    ['add', tinyCheckpoint, '--name', '../x'],
    /the name "\.\.\/x" begins with a dot/,
  ],
  'a name with a separator': [
    ['add', tinyCheckpoint, '--name', 'a/b'],
    /has characters that are not allowed/,
  ],
  'a name that is a folder': [['add', tinyCheckpoint, '--name', 'loras'], /the name loras is reserved/],
  'a wrong hash': [
    ['add', tinyCheckpoint, '--sha256', '0'.repeat(64)],
    new RegExp(`has the SHA-256 ${hash}, but 0{64} was expected`),
  ],
  'a hash that is none': [
    ['add', tinyCheckpoint, '--sha256', 'abc'],
    /--sha256 must be 64 hexadecimal digits, but was "abc"/,
  ],
  'an unknown kind': [
    ['add', tinyCheckpoint, '--kind', 'hat'],
    /--kind must be one of model, vae, embedding, lora/,
  ],
  'another kind': [['add', tinyCheckpoint, '--kind', 'lora'], /this is Stable Diffusion 1\.x, not a LoRA/],
  'a plain http address': [
    ['add', 'http://example.com/x.safetensors'],
    /use https, or give its hash with --sha256/,
  ],
  'another protocol': [['add', 'ftp://example.com/x.safetensors'], /only https and http URLs/],
  'a model that is not there': [['show', 'x'], /There is no model x in .* It contains: nothing\./],
  'a removal of nothing': [['remove', 'x'], /There is no model x/],
  'an option of another command': [['list', '--sha256', 'x'], /list has no option --sha256/],
}
for (const [what, [args, message]] of Object.entries(refusals)) {
  test(`refused in words, and nothing is there afterwards: ${what}`, async (t) => {
    const dir = tempFolder(t)
    const { status, stderr } = await models(dir, args)
    assert.equal(status, 1)
    assert.match(stderr, message)
    assert.ok(!stderr.includes('    at '), 'no stack trace')
    assert.deepEqual(visible(dir), [])
  })
}

test('a damaged file leaves nothing, and a name that is taken stays whose it is', async (t) => {
  const dir = tempFolder(t)
  const source = join(tempFolder(t), 'x.safetensors')
  const bytes = readFileSync(tinyCheckpoint)
  bytes.writeUInt16LE(0x7c00, bytes.length - 2)
  writeFileSync(source, bytes)
  const infinite = await models(dir, ['add', source])
  assert.match(infinite.stderr, /has an infinite or NaN value/)
  assert.deepEqual(visible(dir), [])
  assert.equal((await models(dir, ['add', tinyCheckpoint, '--name', 'x'])).status, 0)
  const again = await models(dir, ['add', tinyCheckpoint, '--name', 'X'])
  assert.equal(again.status, 1)
  assert.match(
    again.stderr,
    /There is already a model x\.safetensors in .*: remove it, or choose another name/,
  )
  assert.deepEqual(visible(dir), ['x.safetensors', 'x.sha256'])
})

test('output that cannot be written is a fault, not a command that said nothing', (t) => {
  const list = (stdout: number) =>
    spawnSync(process.execPath, [join(import.meta.dirname, 'models.ts'), 'list'], {
      env: { ...ownEnvironment(), PACKSHOT_MODELS_DIR: tempFolder(t) },
      stdio: ['ignore', stdout, 'pipe'],
      encoding: 'utf8',
    })
  const full = openSync('/dev/full', 'w')
  lastFirst(t).after(() => closeSync(full))
  const { status, stderr } = list(full)
  assert.equal(status, 1)
  assert.match(stderr, /^The output cannot be written: ENOSPC[^\n]*\n$/)
})

test('a token or an address with what cannot be in it is refused, and not repeated', async (t) => {
  const dir = tempFolder(t)
  const id = 'owner/name'
  for (const [env, args] of [
    [{ HF_TOKEN: 'hf_hush\nmore' }, []],
    [{}, ['--token', 'hush hush']],
    [{ HF_ENDPOINT: 'https://user:P@ss/hush@hub' }, []],
    [{ HF_ENDPOINT: 'hub/hush' }, []],
  ] as const) {
    const { status, stdout, stderr } = await models(dir, ['add', id, ...args], env)
    assert.equal(status, 1)
    assert.match(stderr, /^(HF_TOKEN|--token|HF_ENDPOINT) .*not shown/)
    assert.ok(!(stdout + stderr).includes('hush'), stderr)
  }
})
