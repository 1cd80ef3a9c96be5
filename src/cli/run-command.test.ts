import assert from 'node:assert/strict'
import { statSync } from 'node:fs'
import { test } from 'node:test'
import { parseArgs } from 'node:util'
import { ConfigError } from '../config.ts'
import { CheckpointError, ProviderError } from '../diffusion/errors.ts'
import { AppError } from '../jobs/errors.ts'
import { DownloadError } from '../library/download/addresses.ts'
import { runCommand, UsageError } from './run-command.ts'

/** What a command that throws prints, and its exit status. */
async function outcome(thrown: () => unknown): Promise<[number, string]> {
  const lines: string[] = []
  const status = await runCommand(
    'Usage: x',
    async () => {
      throw thrown()
    },
    (text) => lines.push(text),
  )
  return [status, lines.join('\n')]
}

function caught(action: () => unknown): unknown {
  try {
    return action()
  } catch (thrown) {
    return thrown
  }
}

test('a command has the exit status of its action', async () => {
  assert.equal(await runCommand('', async () => 0), 0)
  assert.equal(await runCommand('', async () => 3), 3)
})

test('a fault that the user can fix is a sentence', async () => {
  const told: [unknown, string][] = [
    [new AppError('not_found', 'No such model.'), 'No such model.'],
    [new ConfigError(['One.', 'Two.']), 'One.\nTwo.'],
    [new CheckpointError('x: damaged'), 'x: damaged'],
    [new ProviderError('No provider works.'), 'No provider works.'],
    [new DownloadError('x: gone'), 'x: gone'],
    [caught(() => statSync('/nowhere/x')), "ENOENT: no such file or directory, stat '/nowhere/x'"],
  ]
  for (const [thrown, text] of told) assert.deepEqual(await outcome(() => thrown), [1, text])
})

test('a wrong call shows the usage, below what is wrong with it', async () => {
  assert.deepEqual(await outcome(() => new UsageError()), [1, 'Usage: x'])
  assert.deepEqual(await outcome(() => new UsageError('No --y.')), [1, 'No --y.\n\nUsage: x'])
  const unknown = caught(() => parseArgs({ args: ['--z'], options: {} }))
  assert.match((await outcome(() => unknown))[1], /^Unknown option '--z'.*\n\nUsage: x$/s)
})

test('any other fault shows its stack and its cause', async () => {
  const [status, text] = await outcome(() => new Error('a bug', { cause: new Error('deeper') }))
  assert.equal(status, 1)
  assert.match(text, /^Error: a bug\n {4}at .*deeper/s)
})
