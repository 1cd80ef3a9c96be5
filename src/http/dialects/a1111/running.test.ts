import assert from 'node:assert/strict'
import { test } from 'node:test'
import { anonymousCaller } from '../../../jobs/caller.ts'
import { AppError, type ErrorCode } from '../../../jobs/errors.ts'
import type { Services } from '../../services.ts'
import { runningCalls } from './running.ts'

test('a call is forgotten when its job is no more, not when it cannot be read for a moment', async () => {
  const notes = new Map<string, string>()
  let code: ErrorCode = 'unavailable'
  const services: Partial<Services> = {
    note: async (_caller, name, text) => void notes.set(name, text),
    noted: async (_caller, name) => notes.get(name),
    view: async () => {
      throw new AppError(code, 'No view.')
    },
  }
  const running = runningCalls(services as Services)
  const caller = anonymousCaller('127.0.0.1')
  await running.add(caller, ['one'])
  await assert.rejects(running.newest(caller), { code: 'unavailable' })
  assert.match(notes.values().next().value ?? '', /one/)
  code = 'deleted'
  assert.deepEqual(await running.newest(caller), [])
  assert.doesNotMatch(notes.values().next().value ?? '', /one/)
})
