import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'

const root = join(import.meta.dirname, '../..')

test('docs/reliability.md has a row for every failure case, and each of its tests exists', () => {
  const text = readFileSync(join(root, 'docs/reliability.md'), 'utf8')
  const sources = globSync('test/fleet/*.test.ts', { cwd: root }).map((file) =>
    readFileSync(join(root, file), 'utf8').replaceAll(/\$\{\w+\}/g, '…'),
  )
  const titles = sources.flatMap((source) =>
    [...source.matchAll(/test\(\s*['`](F\d+: .+?)['`],/g)].map((match) => match[1] as string),
  )
  const told = [...text.matchAll(/^\| (F\d+): .*$/gm)].flatMap(([row, name]) =>
    [...row.matchAll(/"([^"]+)"/g)].map((match) => `${name}: ${match[1]}`),
  )
  assert.deepEqual([...new Set(told)].toSorted(), [...new Set(titles)].toSorted())
  for (let n = 1; n <= 34; n += 1) assert.match(text, new RegExp(`F${n}\\b`), `F${n} has no word`)
})
