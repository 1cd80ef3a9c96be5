import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { instruments, noMetrics, sizeLabel } from './metrics.ts'

function row(instrument: (typeof instruments)[keyof typeof instruments]): string {
  const labels = Object.entries(instrument.labels as Record<string, readonly string[] | undefined>).map(
    ([name, values]) => {
      if (values === undefined) return `\`${name}\``
      // those of the table of errors
      return values.length > 8 ? `\`${name}\`` : `\`${name}\`: ${values.join(', ')}`
    },
  )
  const { name, kind, roles, help } = instrument
  return `| \`${name}\` | ${kind} | ${roles.join(', ')} | ${labels.join('; ')} | ${help} |`
}

test('docs/metrics.md has a row for every instrument, as the table has it, and no other', () => {
  const text = readFileSync(new URL('../../docs/metrics.md', import.meta.url), 'utf8')
  assert.deepEqual(
    text.split('\n').filter((line) => line.startsWith('| `packshot_')),
    Object.values(instruments).map(row),
  )
})

test('names follow the rules of Prometheus, and each is there once', () => {
  const names = Object.values(instruments).map(({ name }) => name)
  assert.equal(new Set(names).size, names.length)
  for (const { name, kind, labels } of Object.values(instruments)) {
    assert.match(name, /^packshot_[a-z_]+$/)
    assert.equal(name.endsWith('_total'), kind === 'counter', name)
    for (const label of Object.keys(labels)) assert.doesNotMatch(label, /prompt|caller|account|job|id$|le$/)
  }
})

test('the size of a picture is that of a square with at least its pixels', () => {
  const of = (width: number, height: number) => sizeLabel({ width, height })
  assert.deepEqual(
    [of(64, 64), of(256, 256), of(256, 264), of(512, 512), of(1024, 512), of(1024, 1024), of(2048, 1024)],
    ['256', '256', '512', '512', '768', '1024', 'larger'],
  )
})

test('without metrics every instrument can be used and does nothing', () => {
  assert.deepEqual(Object.keys(noMetrics), Object.keys(instruments))
  noMetrics.jobsAccepted.add({ class: 'batch' })
  noMetrics.stepDuration.observe({ model: 'm', size: '512' }, 1)
  noMetrics.diskFree.forget({})
})
