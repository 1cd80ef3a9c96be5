import { readFile, writeFile } from 'node:fs/promises'
import type { JudgeAccuracy } from './classifier.ts'
import { type Answer, confusions, parts, percent, shareOf } from './score.ts'

export interface Findings {
  /** By number of steps. */
  readonly runs: readonly { steps: number; known: readonly Answer[]; heldOut: readonly Answer[] }[]
  readonly diversity: { readonly pictures: number; readonly renders: number }
  readonly judge: { readonly unseen: JudgeAccuracy; readonly heldOut: JudgeAccuracy }
  readonly sheets: readonly Sheet[]
}

export interface Sheet {
  readonly title: string
  /** Relative to the report. */
  readonly file: string
  readonly text: string
}

const end = '<!-- to here -->'

/** Puts the report of a command between the two markers of a Markdown file; the text around it is written by hand. */
export async function rewriteReport(file: URL, report: string, command = 'model:judge'): Promise<void> {
  const begin = `<!-- written by npm run ${command}, from here -->`
  const text = await readFile(file, 'utf8')
  const [from, to] = [text.indexOf(begin), text.indexOf(end)]
  if (from === -1 || to < from)
    throw new Error(`${file.pathname} does not contain the lines "${begin}" and "${end}"`)
  await writeFile(file, `${text.slice(0, from)}${begin}\n\n${report}\n${text.slice(to)}`)
}

export function reportOf({ runs, diversity, judge, sheets }: Findings): string {
  const goals = { kind: '90 %', colour: '90 %', background: '90 %' } as Record<string, string>
  const scores = table([
    ['', ...runs.map(({ steps }) => `${steps} steps`), 'goal', 'judge on renders'],
    ...parts.map((part) => [
      part,
      ...runs.map(({ known }) => percent(shareOf(known, part))),
      goals[part] ?? '',
      `${(100 * judge.unseen[part]).toFixed(1)} %`,
    ]),
    [
      'kind, colour and background together',
      ...runs.map(({ known }) => percent(shareOf(known, 'kind', 'colour', 'background'))),
      '',
      '',
    ],
    [
      'the same, combinations kept out of training',
      ...runs.map(({ heldOut }) => percent(shareOf(heldOut, 'kind', 'colour', 'background'))),
      '75 %',
      '',
    ],
  ])
  const last = runs.at(-1)!
  const ratio = diversity.pictures / diversity.renders
  return `${scores}
${last.known.length} prompts of combinations found in training pictures and ${last.heldOut.length} of combinations kept out of them, one picture each, seed =
number of the prompt. The judge is a small classifier trained on renders alone; the last column is its accuracy on
${judge.unseen.pictures} renders that it had not seen (${judge.heldOut.pictures} more of kept-out combinations: kind ${share(judge.heldOut.kind)}, colour ${share(judge.heldOut.colour)}, background
${share(judge.heldOut.background)}).

Most often mistaken at ${last.steps} steps: ${confusions(last.known, 'kind', 5).join(', ') || 'no kind'}; ${confusions(last.known, 'colour', 4).join(', ') || 'no colour'}; ${confusions(last.known, 'background', 4).join(', ') || 'no background'}.

Diversity: two pictures of the same prompt differ by ${diversity.pictures.toFixed(1)} of 255 (root mean square at 64x64, 20 prompts, 16 seeds);
two renders of the same prompt by ${diversity.renders.toFixed(1)}: ${Math.round(100 * ratio)} % (goal: 50 %).

${sheetsAsMarkdown(sheets)}`
}

/** A heading, the picture and its text for each sheet. */
export function sheetsAsMarkdown(sheets: readonly Sheet[]): string {
  return sheets.map(({ title, file, text }) => `### ${title}\n\n![${title}](${file})\n\n${text}\n`).join('\n')
}

function share(value: number): string {
  return `${(100 * value).toFixed(1)} %`
}

export function table(rows: readonly (readonly string[])[]): string {
  const [head = [], ...rest] = rows
  const lines = [head, head.map((_, i) => (i === 0 ? '---' : '--:')), ...rest]
  return `${lines.map((cells) => `| ${cells.join(' | ')} |`).join('\n')}\n`
}
