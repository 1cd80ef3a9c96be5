import assert from 'node:assert/strict'
import { test } from 'node:test'
import { progressBar, progressOnTerminal } from './progress.ts'

/** A stream that records what is written. */
function stream(isTTY: boolean) {
  const written: string[] = []
  return { isTTY, written, write: (text: string) => written.push(text) > 0 }
}

test('on a terminal a bar overwrites its line, and disappears when it is complete', () => {
  const terminal = stream(true)
  const bar = progressBar(terminal)
  bar.draw(0.5, 'step 1 of 2')
  bar.draw(1, 'step 2 of 2')
  assert.deepEqual(terminal.written, [
    `\r\x1b[K[${'#'.repeat(15)}${'.'.repeat(15)}] 50 % step 1 of 2`,
    '\r\x1b[K',
  ])
})

test('elsewhere there is no bar, and a download has a line every 10 %', () => {
  const file = stream(false)
  progressBar(file).draw(0.5, 'step 1 of 2')
  assert.deepEqual(file.written, [])
  const progress = progressOnTerminal(file)
  for (const done of [0, 50, 60, 199, 200]) progress.update('x', done * 1000, 1_000_000)
  progress.note('a note')
  assert.deepEqual(file.written, [
    'x: 0 %, 0.0 kB of 1.0 MB\n',
    'x: 10 %, 199.0 kB of 1.0 MB\n',
    'x: 20 %, 200.0 kB of 1.0 MB\n',
    'a note\n',
  ])
})
