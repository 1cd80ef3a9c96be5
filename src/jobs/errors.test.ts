import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { AppError, errorTable, toAppError } from './errors.ts'

test('docs/errors.md has every code with its meaning and remedy, and no other', () => {
  const text = readFileSync(new URL('../../docs/errors.md', import.meta.url), 'utf8')
  const codes = [...text.matchAll(/^## `(\w+)`/gm)].map((match) => match[1])
  assert.deepEqual(codes.toSorted(), Object.keys(errorTable).sort())
  for (const [code, { meaning, remedy, retryable }] of Object.entries(errorTable)) {
    const section = text.split(`## \`${code}\``)[1]?.split('\n## ')[0] ?? ''
    assert.ok(section.includes(meaning), `the meaning of ${code}`)
    assert.ok(section.includes(remedy), `the remedy of ${code}`)
    assert.equal(
      section.includes('tried again by itself'),
      retryable || remedy.includes('tried again by itself'),
    )
  }
})

test('what is thrown becomes one kind of error, and keeps its cause', () => {
  const known = new AppError('timeout', 'too late')
  assert.equal(toAppError(known), known)
  const full = Object.assign(new Error('no space'), { code: 'ENOSPC' })
  assert.deepEqual([toAppError(full).code, toAppError(full).cause], ['storage_full', full])
  for (const thrown of [new Error('secret'), 'secret', undefined, null]) {
    const error = toAppError(thrown)
    assert.deepEqual([error.code, error.retryable], ['internal', true])
    assert.doesNotMatch(error.message, /secret/)
  }
})
