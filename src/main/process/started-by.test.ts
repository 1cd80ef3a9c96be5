import assert from 'node:assert/strict'
import { test } from 'node:test'
import { waitsForItsCommand } from './started-by.ts'

test('a shell that only waits is told apart from one that may end while its program runs on', () => {
  for (const waiting of [
    ['sh', '-c', 'npm start'],
    ['/bin/dash', '-ec', 'cd /srv/packshot && exec env PORT=80 npm start'],
    ['/usr/bin/bash', '-c', 'npm run server > log 2>&1; exit $?'],
    ['bash', '-lc', 'npm start &>> log'],
  ])
    assert.ok(waitsForItsCommand(waiting), waiting.join(' '))
  for (const other of [
    [],
    [''],
    ['bash'],
    ['-bash'],
    ['bash', '-e', 'step.sh'],
    ['sh', '-c'],
    ['sh', '-c', 'npm start &'],
    ['sh', '-c', 'npm start & curl localhost:8080'],
    ['sh', '-c', 'npm start 2>&1 & disown'],
    ['node', '-c', 'npm start'],
    ['/sbin/init'],
  ])
    assert.equal(waitsForItsCommand(other), false, other.join(' '))
})
