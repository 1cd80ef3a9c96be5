import assert from 'node:assert/strict'
import { existsSync, globSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { test } from 'node:test'

const root = join(import.meta.dirname, '..')
const documents = globSync(['*.md', 'docs/**/*.md', 'deploy/**/*.md', 'test/**/*.md', 'training/**/*.md'], {
  cwd: root,
  exclude: (name) => name === 'node_modules',
})

/** As the usual viewers make them of headings. */
function anchorsOf(path: string): Set<string> {
  const headings = readFileSync(path, 'utf8').matchAll(/^#+ (.+)$/gm)
  return new Set(
    [...headings].map(([, title = '']) =>
      title
        .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  )
}

test('every link in the documents leads to a file and a heading that exist', () => {
  const faults: string[] = []
  for (const document of documents) {
    const path = join(root, document)
    const text = readFileSync(path, 'utf8').replace(/^```[\s\S]*?^```/gm, '')
    for (const [, target = ''] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue
      const [file = '', anchor] = target.split('#')
      const to = file === '' ? path : join(dirname(path), file)
      if (!existsSync(to)) faults.push(`${document}: ${target}`)
      else if (anchor !== undefined && statSync(to).isFile() && !anchorsOf(to).has(anchor)) {
        faults.push(`${document}: ${target} (no such heading)`)
      }
    }
  }
  assert.deepEqual(faults, [])
})

test('docs/README.md leads to every document', () => {
  const index = readFileSync(join(root, 'docs/README.md'), 'utf8')
  const missing = globSync('docs/*.md', { cwd: root })
    .map((path) => relative('docs', path))
    .filter((name) => name !== 'README.md' && !index.includes(`](${name})`))
  assert.deepEqual(missing, [])
})
