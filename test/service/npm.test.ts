import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { test } from 'node:test'
import { ownEnvironment } from '../kit/own-environment.ts'
import { waitFor } from '../kit/waiting.ts'
import { type Cleanup, tempFolder } from '../temp-folder.ts'
import { submit, untilView, view } from './server-process.ts'

/** The program as the README starts it. */

const root = join(import.meta.dirname, '../..')

interface Npm {
  readonly process: ChildProcess
  readonly output: () => string
  readonly address: string
}

/** In a process group of its own, as a terminal and systemd have it. */
async function npmStart(t: Cleanup, dataDir: string): Promise<Npm> {
  const npm = spawn('npm', ['start'], {
    cwd: root,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...ownEnvironment(),
      HOME: tempFolder(t),
      npm_config_update_notifier: 'false',
      NODE_ENV: 'production',
      npm_config_ignore_scripts: 'true',
      PORT: '0',
      PACKSHOT_DATA_DIR: dataDir,
      PACKSHOT_SHUTDOWN_SECONDS: '120',
    },
  })
  t.after(() => killGroup(npm, 'SIGKILL'))
  let text = ''
  const keep = (chunk: Buffer) => {
    text += chunk
  }
  npm.stdout.on('data', keep)
  npm.stderr.on('data', keep)
  await waitFor(() => {
    if (npm.exitCode !== null) throw new Error(text)
    return text.includes('is ready: ')
  })
  return { process: npm, output: () => text, address: /is ready: (\S+)/.exec(text)?.[1] ?? '' }
}

function killGroup(npm: ChildProcess, signal: NodeJS.Signals): void {
  try {
    process.kill(-(npm.pid ?? 0), signal)
  } catch {
    // it has ended
  }
}

async function running(address: string): Promise<string> {
  const { id } = await submit(address, { prompt: 'a red apple', width: 256, height: 256, steps: 12, seed: 1 })
  await untilView(address, id, ({ status, progress }) => status === 'running' && (progress?.step ?? 0) > 0)
  return id
}

test('SIGTERM to npm alone reaches the server: the job in work ends, then npm', async (t) => {
  const dataDir = tempFolder(t)
  const npm = await npmStart(t, dataDir)
  const id = await running(npm.address)
  npm.process.kill('SIGTERM')
  await once(npm.process, 'exit')
  assert.match(npm.output(), /is stopping: the current job may finish/)
  await assert.rejects(fetch(npm.address))

  // the folder is free at once; Ctrl-C reaches npm and the server, and npm passes its own on
  const again = await npmStart(t, dataDir)
  assert.equal((await view(again.address, id)).status, 'succeeded')
  await running(again.address)
  killGroup(again.process, 'SIGINT')
  await once(again.process, 'exit')
  assert.equal(again.output().match(/is stopping/g)?.length, 1)
  await assert.rejects(fetch(again.address))
})

test('a server whose npm is killed, or whose terminal is closed, ends too', async (t) => {
  const npm = await npmStart(t, tempFolder(t))
  npm.process.kill('SIGHUP')
  await once(npm.process, 'exit')
  await waitFor(() => npm.output().includes('is stopping'))
  await waitFor(() =>
    fetch(npm.address).then(
      () => false,
      () => true,
    ),
  )
})
