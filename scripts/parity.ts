import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import type { ParityRow } from '../test/golden/parity-rows/row.ts'

/**
 * Measures how far the engine is from diffusers and writes docs/parity.md. Collects the rows of every module in
 * test/golden/parity-rows that exports `rows`. Exits with 1 if one is over its limit.
 *
 *   npm run parity
 */

const root = join(import.meta.dirname, '..')
const report = join(root, 'docs/parity.md')

interface RowsModule {
  readonly rows?: () => AsyncIterable<ParityRow>
}

async function* allRows(): AsyncGenerator<ParityRow> {
  const folder = join(root, 'test/golden/parity-rows')
  for (const name of (await readdir(folder)).toSorted()) {
    const { rows }: RowsModule = await import(join(folder, name))
    if (rows) yield* rows()
  }
}

/** Written so that NaN is over the limit. */
function isOver({ difference, limit }: ParityRow): boolean {
  return !(difference <= limit)
}

function amount(value: number, measure: ParityRow['measure']): string {
  return measure === 'picture' ? `${value}/255` : value === 0 ? '0' : value.toExponential(1)
}

function table(rows: readonly ParityRow[]): string {
  const noted = rows.some(({ note }) => note)
  const lines = [
    ['', 'Measured', 'Largest difference', 'Limit', ...(noted ? ['Note'] : [])],
    ['---', '---', '--:', '--:', ...(noted ? ['---'] : [])],
  ]
  for (const row of rows) {
    const { measure, difference, limit, note } = row
    const shown = amount(difference, measure)
    lines.push([
      row.row.replaceAll('|', '\\|'),
      measure,
      isOver(row) ? `**${shown}**` : shown,
      amount(limit, measure),
      ...(noted ? [(note ?? '').replaceAll('|', '\\|')] : []),
    ])
  }
  return lines.map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}

function summary(rows: readonly ParityRow[]): string {
  const over = rows.filter(isOver)
  const largest = (measure: ParityRow['measure']) => {
    const found = rows.filter((row) => row.measure === measure)
    const worst = found.reduce((most, { difference }) => Math.max(most, difference), 0)
    return `${found.length} ${measure}s differ by at most ${amount(worst, measure)}`
  }
  const verdict =
    over.length === 0
      ? `All ${rows.length} rows are within their limits`
      : `**${over.length} of ${rows.length} rows are over their limit** (in bold below)`
  return `${verdict}: ${largest('picture')}, ${largest('part')}.`
}

async function document(rows: readonly ParityRow[]): Promise<string> {
  const text = async (file: string) => JSON.parse(await readFile(join(root, file), 'utf8'))
  const { versions } = await text('test/golden/parity/pictures.json')
  const onnxruntime = (await text('node_modules/onnxruntime-node/package.json')).version
  const areas = Map.groupBy(rows, ({ area }) => area.charAt(0).toUpperCase() + area.slice(1))
  const tables = [...areas].map(([area, found]) => `## ${area}\n\n${table(found)}`)
  return `# Parity with diffusers

Written by \`npm run parity\`; do not edit.

${summary(rows)}

This compares the engine's own numbers, on the CPU in float32, with those that diffusers ${versions.diffusers} (commit
${versions.diffusers_commit.slice(0, 12)}), transformers ${versions.transformers} and torch ${versions.torch} produced from the same weights, prompts and seeds on the CPU in
float32. This run used onnxruntime-node ${onnxruntime} and Node ${process.versions.node}.

- A **picture** counts the largest difference in any channel of any pixel, in 1/255. Pictures are 64x64 and take 10 steps
  unless stated otherwise.
- A **part** counts the largest difference of any number relative to the largest expected number.

The models are a small checkpoint with the architecture and key names of Stable Diffusion 1.x
([test/golden/README.md](../test/golden/README.md), [test/golden/parity/README.md](../test/golden/parity/README.md)), as a
folder and as one file in each layout and precision, and \`packshot-mini\`. The Python programs that made diffusers' numbers
are in [test/golden](../test/golden); the second README describes how pictures were made. A prompt's weights,
windows, embeddings and clip skip follow AUTOMATIC1111's rules, which diffusers does not have: those prompts were encoded by a
program of ours with transformers' text encoder, and passed to diffusers. Upscalers are compared with BasicSR and Real-ESRGAN.

${tables.join('\n\n')}
`
}

const rows: ParityRow[] = []
for await (const row of allRows()) {
  rows.push(row)
  const mark = isOver(row) ? 'OVER ' : ''
  console.log(`${mark}${row.area}: ${row.row}: ${amount(row.difference, row.measure)}`)
}
await writeFile(report, await document(rows))
console.log(`${relative(process.cwd(), report)}: ${summary(rows)}`)
process.exitCode = rows.some(isOver) ? 1 : 0
