import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, globSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { suite, test } from 'node:test'
import { parseEnv } from 'node:util'
import { Environment, loadConfig } from '../../src/config.ts'
import { tempFolder } from '../cleanup.ts'

const root = join(import.meta.dirname, '../..')
const units = globSync('deploy/systemd/*.service', { cwd: root }).map((path) => join(root, path))

/** Each value of a setting of a unit: a name may be given several times. */
const valuesOf = (unit: string, name: string) =>
  [...readFileSync(unit, 'utf8').matchAll(new RegExp(`^${name}=(.*)$`, 'gm'))].map(([, value = '']) => value)

suite('units of systemd', () => {
  test('there is one for each role', () => {
    assert.deepEqual(units.map((path) => basename(path)).sort(), [
      'packshot-server.service',
      'packshot-worker.service',
      'packshot.service',
    ])
  })

  for (const unit of units) {
    test(`${basename(unit)} starts a program that exists, with settings that exist, and waits for its drain`, () => {
      const [command = ''] = valuesOf(unit, 'ExecStart')
      const script = command.split(' ').at(-1) ?? ''
      assert.ok(command.startsWith('/opt/packshot/node_modules/.bin/node '), command)
      assert.ok(existsSync(join(root, script)), script)
      const settings = valuesOf(unit, 'Environment').map((value) => value.slice(0, value.indexOf('=')))
      for (const name of settings) assert.ok(name in Environment.properties, name)
      const { shutdownSeconds, drainSeconds } = loadConfig({})
      assert.ok(Number(valuesOf(unit, 'TimeoutStopSec')[0]) > shutdownSeconds + drainSeconds + 10)
    })

    test(`${basename(unit)} is what systemd understands`, (t) => {
      const path = join(tempFolder(t), basename(unit))
      writeFileSync(path, readFileSync(unit, 'utf8').replaceAll('/opt/packshot', root))
      const { error, status, stdout, stderr } = spawnSync('systemd-analyze', ['verify', path], {
        encoding: 'utf8',
      })
      if (error !== undefined) return t.skip('systemd-analyze is not installed')
      assert.equal(stdout + stderr, '')
      assert.equal(status, 0)
    })
  }

  test('the environment file is a valid configuration', () => {
    const env = parseEnv(readFileSync(join(root, 'deploy/systemd/packshot.env'), 'utf8'))
    assert.deepEqual(loadConfig(env).allowedHosts, 'studio.example.com')
  })
})
