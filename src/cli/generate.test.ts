import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import sharp from 'sharp'
import { tempFolder } from '../../test/cleanup.ts'
import { commentIn } from '../../test/kit/exif.ts'
import { oneThread, ownOptions } from '../../test/kit/own-environment.ts'

/** `npm run generate` as a process, with the tiny model. */

const entry = join(import.meta.dirname, './generate.ts')
const model = join(import.meta.dirname, '../../test/golden/tiny-sd')
const quick = ['--model', model, '--width', '64', '--height', '64', '--steps', '2']

function generate(cwd: string, ...args: string[]) {
  const env = { ...process.env, ...oneThread }
  return spawnSync(process.execPath, [...ownOptions(), entry, ...args], { cwd, env, encoding: 'utf8' })
}

test('a picture is written, and the same seed writes the same bytes', (t) => {
  const folder = tempFolder(t)
  const first = generate(folder, 'a red apple', ...quick, '--seed', '7', '--out', 'apple.png')
  assert.equal(first.status, 0, first.stderr)
  assert.match(first.stdout, /^apple\.png {2}seed 7, 64x64, 2 steps, /)
  assert.equal(generate(folder, 'a red apple', ...quick, '--seed', '7', '--out', 'again.png').status, 0)
  const bytes = readFileSync(join(folder, 'apple.png'))
  assert.deepEqual(readFileSync(join(folder, 'again.png')), bytes)
  assert.ok(bytes.includes('parameters\0a red apple\nSteps: 2, Sampler: DPM++ 2M'))
})

test('no library stores an identifier of the device, or anything else, in the home of the user', (t) => {
  const [folder, home] = [tempFolder(t), tempFolder(t)]
  // on a test machine the library is quiet anyway
  const { CI: _, ...env } = process.env
  const command = [...ownOptions(), entry, 'a box', ...quick, '--out', 'box.png']
  const inHome = { ...env, HOME: home, XDG_CACHE_HOME: home, XDG_DATA_HOME: home }
  const { status, stderr } = spawnSync(process.execPath, command, {
    cwd: folder,
    encoding: 'utf8',
    env: inHome,
  })
  assert.deepEqual([status, stderr, readdirSync(home)], [0, '', []])
})

test('several pictures are numbered and have seeds in a row', (t) => {
  const folder = tempFolder(t)
  const { stdout } = generate(folder, 'a box', ...quick, '--seed', '5', '--count', '2', '--out', 'box.png')
  assert.deepEqual(readdirSync(folder).sort(), ['box-1.png', 'box-2.png'])
  assert.match(stdout, /box-1\.png {2}seed 5,.*\nbox-2\.png {2}seed 6,/)
})

for (const [name, format] of [
  ['apple.jpg', 'jpeg'],
  ['apple.JPEG', 'jpeg'],
  ['apple.webp', 'webp'],
] as const) {
  test(`${name} is a ${format} that says how it was made`, async (t) => {
    const folder = tempFolder(t)
    const { status, stderr } = generate(folder, 'un café', ...quick, '--seed', '7', '--out', name)
    assert.equal(status, 0, stderr)
    const found = await sharp(join(folder, name)).metadata()
    assert.deepEqual([found.format, found.width, found.height], [format, 64, 64])
    assert.match(commentIn(found.exif), /^un café\nSteps: 2, Sampler: DPM\+\+ 2M, .*Seed: 7, Size: 64x64/)
  })
}

test('a picture of an asked format and quality is named after it', async (t) => {
  const folder = tempFolder(t)
  const sizes: number[] = []
  for (const quality of ['20', '95']) {
    const args = ['x', ...quick, '--seed', '7', '--format', 'webp', '--quality', quality]
    assert.equal(generate(folder, ...args).status, 0)
    sizes.push(readFileSync(join(folder, 'packshot-7.webp')).length)
  }
  assert.ok(Number(sizes[0]) < Number(sizes[1]), String(sizes))
})

const faults: Record<string, [string[], RegExp]> = {
  'no prompt': [[], /^Usage: npm run generate/],
  'an empty prompt': [[''], /prompt must be text of 1 to 2000 characters, but was empty/],
  'a seed that is no number': [['x', '--seed', 'abc'], /seed must be a whole number .* but was "abc"/],
  'too many steps': [['x', '--steps', '10000'], /steps must be a whole number from 1 to 100, but was 10000/],
  'an unknown option': [['x', '--colour', 'red'], /Unknown option '--colour'/],
  'an unknown sampler': [['x', '--sampler', 'best'], /sampler must be one of dpmpp_2m, .* but was "best"/],
  'a quality of a PNG': [['x', '--quality', '90'], /quality requires format jpeg or webp/],
  'an unknown format': [['x', '--format', 'bmp'], /format must be one of png, jpeg, webp, but was "bmp"/],
  'an unknown model': [['x', '--model', '/nowhere/model'], /\/nowhere\/model: no such file or folder/],
  'a folder that is not there': [['x', ...quick, '--out', '/nowhere/x.png'], /ENOENT.*\/nowhere\/x\.png/],
}

for (const [what, [args, message]] of Object.entries(faults)) {
  test(`refused in words, and nothing is written: ${what}`, (t) => {
    const folder = tempFolder(t)
    const { status, stderr } = generate(folder, ...args)
    assert.equal(status, 1)
    assert.match(stderr, message)
    assert.ok(!stderr.includes('    at '), 'no stack trace')
    assert.deepEqual(readdirSync(folder), [])
  })
}
