import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { tempFolder } from '../cleanup.ts'
import { waitFor } from '../kit/waiting.ts'
import { isGone, jobInWork, killGroup, startCommand } from './npm-process.ts'
import { view } from './server-process.ts'

/** `npm start` as the README has it, under what starts and stops programs; `npm run server` and `worker` are in the fleet. */

test('SIGTERM to npm alone reaches the server: the job in work ends, then npm', async (t) => {
  const env = { PACKSHOT_DATA_DIR: tempFolder(t) }
  const npm = await startCommand(t, ['npm', 'start'], env)
  const id = await jobInWork(npm.address)
  npm.process.kill('SIGTERM')
  assert.equal(await npm.ended, 0, npm.output())
  // as systemd does when the main process has ended (KillMode=mixed), and the kernel when it was the first of a container
  killGroup(npm.process, 'SIGKILL')
  assert.match(npm.output(), /is stopping: the current job may finish/)
  assert.ok(await isGone(npm.address))

  // the folder is free at once; Ctrl-C, and systemd's KillMode=control-group, reach npm and the server, and npm passes its own on
  const again = await startCommand(t, ['npm', 'start'], env)
  assert.equal((await view(again.address, id)).status, 'succeeded')
  const second = await jobInWork(again.address)
  killGroup(again.process, 'SIGINT')
  assert.equal(await again.ended, 0, again.output())
  assert.equal(again.output().match(/is stopping/g)?.length, 1)
  assert.match(again.output(), new RegExp(`"job":"${second.slice(0, 26)}","status":"succeeded"`))
  assert.ok(await isGone(again.address))
})

test('npm as the first process of a container ends after the job in work, and nothing is killed before', async (t) => {
  const container = ['unshare', '--pid', '--fork', '--mount-proc', '--kill-child'] as const
  if (spawnSync(container[0], [...container.slice(1), 'true']).status !== 0)
    return t.skip('process namespaces need root on Linux')
  const npm = await startCommand(t, [...container, 'npm', 'start'], { PACKSHOT_DATA_DIR: tempFolder(t) })
  const id = await jobInWork(npm.address)
  const { pid } = npm.process
  const first = Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim())
  process.kill(first, 'SIGTERM')
  assert.equal(await npm.ended, 0, npm.output())
  assert.match(npm.output(), new RegExp(`"job":"${id.slice(0, 26)}","status":"succeeded"`))
})

test('a second signal to npm ends everything at once, and npm reports a failure', async (t) => {
  const npm = await startCommand(t, ['npm', 'start'], { PACKSHOT_DATA_DIR: tempFolder(t) })
  await jobInWork(npm.address, 100)
  npm.process.kill('SIGTERM')
  await waitFor(() => npm.output().includes('is stopping'))
  // one within a second may be the same, passed on by npm
  await sleep(1100)
  npm.process.kill('SIGTERM')
  assert.equal(await npm.ended, 1, npm.output())
  assert.ok(await isGone(npm.address))
})

test('a server whose npm is killed, or the shell that waits for npm, drains and ends too', async (t) => {
  for (const [command, signal] of [
    // as with SIGKILL, npm passes it on to nobody
    [['npm', 'start'], 'SIGHUP'],
    // dash forks for the last command, too, and passes on nothing
    [['sh', '-c', 'cd . && npm start; exit $?'], 'SIGTERM'],
  ] as const) {
    const npm = await startCommand(t, command, { PACKSHOT_DATA_DIR: tempFolder(t) })
    const id = await jobInWork(npm.address)
    npm.process.kill(signal)
    assert.equal(await npm.ended, signal)
    await waitFor(() => npm.output().includes('is stopping'))
    await waitFor(() => isGone(npm.address))
    const ofJob = new RegExp(`"job":"${id.slice(0, 26)}","status":"succeeded"`)
    await waitFor(() => ofJob.test(npm.output()))
  }
})
