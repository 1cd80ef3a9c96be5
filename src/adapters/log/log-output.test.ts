import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, constants, openSync, readFileSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { type Cleanup, lastFirst, tempFolder } from '../../../test/cleanup.ts'
import { ownEnvironment } from '../../../test/kit/own-environment.ts'
import { waitFor } from '../../../test/kit/waiting.ts'

/** Writes lines faster than nobody reads them, then says on stderr that it could; one more line for each on stdin. */
const program = (lines: number, then = '') => `
  import { openLogOutput } from ${JSON.stringify(new URL('./log-output.ts', import.meta.url).href)}
  const output = openLogOutput(1, (lost, reason) => JSON.stringify({ lost, reason }) + '\\n')
  for (let line = 0; line < ${lines}; line += 1) output.write('x'.repeat(999) + '\\n')
  console.error('written')
  process.stdin.on('data', () => output.write('more\\n'))
  ${then}`

function start(t: Cleanup, code: string, stdout: number | 'pipe') {
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], {
    env: ownEnvironment(),
    stdio: ['pipe', stdout, 'pipe'],
  })
  lastFirst(t).after(() => void child.kill('SIGKILL'))
  const { stdin, stderr } = child
  assert.ok(stdin !== null && stderr !== null)
  return { child, stdin, stderr }
}

test('a pipe that nobody reads holds nothing up; what was lost is counted once it is read again', async (t) => {
  const pipe = join(tempFolder(t), 'pipe')
  spawnSync('mkfifo', [pipe])
  const reader = openSync(pipe, constants.O_RDONLY | constants.O_NONBLOCK)
  lastFirst(t).after(() => closeSync(reader))
  const writer = openSync(pipe, constants.O_WRONLY)
  const { stdin, stderr } = start(t, program(5000), writer)
  closeSync(writer)
  await once(stderr, 'data')
  let text = ''
  const read = () => {
    const chunk = Buffer.alloc(65_536)
    try {
      text += chunk.toString('latin1', 0, readSync(reader, chunk))
    } catch (thrown) {
      assert.match(String(thrown), /EAGAIN/)
    }
  }
  await waitFor(() => {
    read()
    return text.includes('lost')
  })
  stdin.write('.')
  await waitFor(() => {
    read()
    return text.endsWith('more\n')
  })
  const lines = text.split('\n').slice(0, -1)
  const whole = lines.filter((line) => line === 'x'.repeat(999)).length
  const { lost, reason } = JSON.parse(lines.at(-2) as string) as { lost: number; reason: string }
  assert.equal(whole + lost, 5000)
  assert.match(reason, /stands still/)
  assert.deepEqual([lines.length, lines.at(-1)], [whole + 2, 'more'])
})

test('a socket that nobody reads, and a reader that has gone, hold nothing up', async (t) => {
  const { child, stdin, stderr } = start(
    t,
    program(5000, 'process.stdin.on("end", () => process.exit(0))'),
    'pipe',
  )
  await once(stderr, 'data')
  child.stdout?.destroy()
  stdin.end('.')
  assert.deepEqual(await once(child, 'exit'), [0, null])
})

test('a full disk costs lines, which are counted when there is room again', {
  skip: !isRootOnLinux(),
}, async (t) => {
  const folder = tempFolder(t)
  lastFirst(t).after(() => void spawnSync('umount', ['-l', folder]))
  assert.equal(spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', folder]).status, 0)
  const log = join(folder, 'log')
  const file = openSync(log, 'a')
  const { stdin, stderr } = start(t, program(100), file)
  await once(stderr, 'data')
  const before = readFileSync(log, 'latin1')
  assert.equal(before.length, 65_536)
  assert.equal(spawnSync('mount', ['-o', 'remount,size=256k', folder]).status, 0)
  stdin.write('.')
  await waitFor(() => readFileSync(log, 'latin1').endsWith('more\n'))
  closeSync(file)
  const after = readFileSync(log, 'latin1').slice(before.length).split('\n')
  // the line that was cut is ended first
  assert.equal(after[0], '')
  const { lost, reason } = JSON.parse(after[1] as string) as { lost: number; reason: string }
  assert.deepEqual([lost, reason], [100 - Math.floor(65_536 / 1000), 'ENOSPC'])
})

function isRootOnLinux(): boolean {
  return process.platform === 'linux' && process.getuid?.() === 0
}
