import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { httpStatus } from '../http/status.ts'
import { AppError, type ErrorCode, errorTable, toAppError } from './errors.ts'

/** The section of docs/errors.md for a code, derived from the table that the program uses. */
function sectionOf(code: ErrorCode): string {
  const { meaning, remedy, attempts } = errorTable[code]
  const status = httpStatus(new AppError(code, ''))
  const requests = status === 500 && code !== 'internal' ? [] : [`HTTP status ${status}.`]
  const jobs = {
    0: [],
    1: ['A job fails with it at the first attempt.'],
    2: ['A job fails with it after two attempts.'],
    3: ['A job fails with it after three attempts.'],
    'until it works': ['A job does not fail with it: it is retried until it succeeds or expires.'],
  }[attempts]
  return `\n\n${meaning} ${remedy}\n\n${[...requests, ...jobs].join(' ')}\n`
}

test('docs/errors.md says of each code what the table says, and has no other', () => {
  const text = readFileSync(new URL('../../docs/errors.md', import.meta.url), 'utf8')
  const sections = text.split('\n## ').slice(1)
  assert.deepEqual(
    Object.fromEntries(
      sections.map((section) => /^`(\w+)`([\s\S]*)$/.exec(`${section.trimEnd()}\n`)?.slice(1) ?? [section]),
    ),
    Object.fromEntries((Object.keys(errorTable) as ErrorCode[]).map((code) => [code, sectionOf(code)])),
  )
})

test('what is thrown becomes one kind of error, and keeps its cause', () => {
  const known = new AppError('timeout', 'too late')
  assert.equal(toAppError(known), known)
  const full = Object.assign(new Error('no space'), { code: 'ENOSPC' })
  assert.deepEqual([toAppError(full).code, toAppError(full).cause], ['storage_full', full])
  for (const thrown of [new Error('secret'), 'secret', undefined, null]) {
    const error = toAppError(thrown)
    assert.deepEqual([error.code, error.attempts], ['internal', 3])
    assert.doesNotMatch(error.message, /secret/)
  }
})
