import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { AppError, clientMessage, type ErrorCode } from './errors.ts'

/** What clients read must not tell where things are on this machine. */

const source = join(import.meta.dirname, '..')
const files = globSync('**/*.ts', { cwd: source }).filter((file) => !file.endsWith('.test.ts'))
const texts = files.map((file) => [file, readFileSync(join(source, file), 'utf8')] as const)

/** Expressions whose values are paths, keys of tensors or of objects. */
const inner = /\$\{[^}]*\b(path|folder|dir|directory|place|source|key|target|partial)\b[^}]*\}/

/** Shown by commands, or at the start only. */
const operatorsOwn = /^(cli|main|library)\/|^adapters\/disk\/(folder-lock|probe)\.ts$/

test('no message of a fault that clients are told has a path or a key in it', () => {
  const operators: readonly ErrorCode[] = [
    'unavailable',
    'storage_full',
    'model_invalid',
    'internal',
    'generation_failed',
  ]
  let seen = 0
  for (const [file, text] of texts.filter(([name]) => !operatorsOwn.test(name))) {
    for (const [, code, message] of text.matchAll(
      /(?:new AppError|super)\(\s*'(\w+)',\s*(`[^`]*`|'[^']*')/g,
    )) {
      if (!operators.includes(code as ErrorCode)) continue
      seen += 1
      assert.doesNotMatch(message ?? '', inner, `${file}: give the path as "detail"`)
    }
  }
  assert.ok(seen >= 10, `${seen} messages were found`)
})

test('no reason why a file cannot be used has a path or a key in it', () => {
  let seen = 0
  for (const [file, text] of texts.filter(([name]) => name.startsWith('diffusion/'))) {
    for (const [, reason] of text.matchAll(
      /(?:\brefused\(\s*[\w.#]+(?:\([^()]*\))?,|\breason[:=])\s*(`[^`]*`)/g,
    )) {
      seen += 1
      assert.doesNotMatch(reason ?? '', inner, file)
    }
  }
  assert.ok(seen >= 10, `${seen} reasons were found`)
})

test('a path that gets into a message all the same is cut out, and nothing else is', () => {
  const shown = (code: ErrorCode, message: string) => clientMessage(new AppError(code, message))
  assert.equal(
    shown('unavailable', 'The folder /srv/packshot/data cannot be used: EACCES.'),
    'The folder (a file of this installation) cannot be used: EACCES.',
  )
  assert.equal(shown('model_invalid', 'C:\\models\\x.safetensors: bad'), '(a file of this installation): bad')
  for (const message of [
    'The storage did not answer PutObject within 5 seconds.',
    'The model a/b cannot be used: put it in loras/ in the models folder.',
    'Redis at redis://cache/0 does not answer and/or is slow.',
  ]) {
    assert.equal(shown('unavailable', message), message)
  }
  const own = 'There is nothing at /v1/jobs/x.'
  assert.equal(shown('not_found', own), own)
})
