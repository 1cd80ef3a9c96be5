import assert from 'node:assert/strict'
import { test } from 'node:test'
import { lastFirst } from '../../../test/cleanup.ts'
import { embedded } from '../../../test/jobs/embedded.ts'
import { keepingLog } from '../../../test/quiet-log.ts'
import { watchNeighbours } from './neighbours.ts'

const [one, two, three] = ['one', 'two', 'three'].map((text) => Buffer.from(text)) as [Buffer, Buffer, Buffer]

test('servers of another installation on one namespace are reported once, servers in a rotation are not', async (t) => {
  const { status, clock } = embedded(t)
  const server = (secrets: readonly Buffer[], version = '1.0.0') => {
    const log = keepingLog()
    const now = () => new Date(Date.now() + clock.ahead)
    const neighbours = watchNeighbours({ status, secrets, version, log, now })
    lastFirst(t).after(() => neighbours.stop())
    return { look: neighbours.look, lines: log.lines }
  }
  const before = server([one])
  const during = server([one, two])
  const after = server([two, one], '1.1.0')
  for (const each of [before, during, after, before, during, after]) await each.look()
  assert.deepEqual(
    [before, during, after].map(({ lines }) => lines.map(({ message }) => message)),
    [
      ['servers of another version run beside this one'],
      ['servers of another version run beside this one'],
      ['servers of another version run beside this one'],
    ],
  )
  const foreign = server([three])
  for (const each of [foreign, before, foreign, before]) await each.look()
  const isFault = ({ message }: { message: string }) => /another PACKSHOT_NAMESPACE/.test(message)
  assert.equal(before.lines.filter(isFault).length, 1)
  // it sees the three marks that the others left
  assert.equal(foreign.lines.filter(isFault).length, 3)
  clock.ahead = 100_000
  const later = server([three])
  await later.look()
  assert.deepEqual(later.lines, [])
})

test('a note that is damaged, or a store that does not answer, is no reason to stop', async (t) => {
  const { status } = embedded(t)
  const log = keepingLog()
  const deps = { secrets: [one], version: '1.0.0', log, now: () => new Date() }
  for (const text of ['{"half', '[{"marks":["<script>"]}]', 'null']) {
    await status.note('servers', text, 60)
    const neighbours = watchNeighbours({ ...deps, status })
    lastFirst(t).after(() => neighbours.stop())
    await neighbours.look()
    assert.match((await status.noted('servers')) ?? '', /^\[\{"marks":\["[0-9a-f]{16}"\]/)
  }
  const away = async () => Promise.reject(new Error('away'))
  const neighbours = watchNeighbours({ ...deps, status: { note: away, noted: away } })
  lastFirst(t).after(() => neighbours.stop())
  await neighbours.look()
  assert.deepEqual(
    log.lines.map(({ message }) => message),
    ['looking for other installations failed; continuing without it'],
  )
})
