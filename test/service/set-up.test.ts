import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, cpSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { type Cleanup, tempFolder } from '../cleanup.ts'

/** The step before every program, in a checkout of its own with the packages of this one. */

const root = join(import.meta.dirname, '../..')
const nobody = 65_534

function checkout(t: Cleanup, change: (lock: string) => string = (lock) => lock): string {
  const folder = tempFolder(t)
  cpSync(join(root, 'scripts/setup.mjs'), join(folder, 'scripts/setup.mjs'))
  writeFileSync(
    join(folder, 'package-lock.json'),
    change(readFileSync(join(root, 'package-lock.json'), 'utf8')),
  )
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
  chmodSync(folder, 0o755)
  return folder
}

/** As another user where this one could write everywhere; no npm would be found. */
function setUp(folder: string, ...args: string[]) {
  const user = process.getuid?.() === 0 ? { uid: nobody, gid: nobody } : {}
  const env = { PATH: '/nowhere', NODE_ENV: 'production', npm_config_omit: 'dev' }
  const script = join(folder, 'scripts/setup.mjs')
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, ...args], {
    env,
    encoding: 'utf8',
    ...user,
  })
  return { status, output: stdout + stderr }
}

test('packages that somebody else installed completely are used as they are', (t) => {
  const folder = checkout(t)
  chmodSync(folder, 0o555)
  assert.deepEqual(setUp(folder), { status: 0, output: '' })
  assert.deepEqual(setUp(folder, '--development'), { status: 0, output: '' })
})

test('packages that do not fit and cannot be replaced are refused, with what to run and where', (t) => {
  const { version } = JSON.parse(readFileSync(join(root, 'node_modules/pino/package.json'), 'utf8'))
  const folder = checkout(t, (lock) => lock.replaceAll(`"version": "${version}"`, '"version": "0.0.1"'))
  chmodSync(folder, 0o555)
  const { status, output } = setUp(folder)
  assert.equal(status, 1)
  assert.match(output, /node_modules\/pino/)
  assert.match(output, /this user cannot write there. Run "npm ci && .*" as the user that owns it/)
})

test('a checkout without packages is not taken for a complete one', (t) => {
  const folder = checkout(t)
  cpSync(join(folder, 'package-lock.json'), join(folder, 'other/package-lock.json'))
  cpSync(join(folder, 'scripts'), join(folder, 'other/scripts'), { recursive: true })
  chmodSync(join(folder, 'other'), 0o555)
  assert.match(setUp(join(folder, 'other')).output, /packages are missing/)
})
