import type { FewStepPaces, FewSteps } from '../diffusion/lora/few-steps.ts'
import { listed } from '../jobs/wording.ts'
import type { Entry } from '../library/folder/list.ts'
import { readSums, sumsBeside } from '../library/folder/sums.ts'
import { readableBytes } from '../library/progress.ts'

/** The line of `models list`. */
export function entryLine({ kind, name, bytes, facts, problem, remarks }: Entry): string {
  const what = [facts?.family, facts?.dtype, readableBytes(bytes)].filter((part) => part !== undefined)
  const rest = problem === undefined ? '' : `\n           CANNOT BE USED: ${problem.detail}`
  const notes = remarks.map((remark) => `\n           note: ${remark}`).join('')
  return `${kind.padEnd(10)} ${name}  ${what.join(', ')}${rest}${notes}`
}

/** The paces that a LoRA gives the models that it fits, and their settings. */
export function fewSteps(paces: FewStepPaces): string {
  return Object.entries(paces)
    .map(([pace, { sampler, steps, guidanceScale, eta }]: [string, FewSteps]) => {
      const settings = [`${steps} step${steps === 1 ? '' : 's'}`, sampler, `guidance ${guidanceScale}`]
      return `${pace} (${[...settings, ...(eta === undefined ? [] : [`eta ${eta}`])].join(', ')})`
    })
    .join(', ')
}

/** The lines of `models show`. */
export async function entryDetails(entry: Entry): Promise<string> {
  const { kind, name, path, bytes, facts, problem, remarks } = entry
  const { family, dtype, model } = facts ?? {}
  const { description, subjects } = model === undefined || model instanceof Error ? {} : model.about
  const sums = await readSums(sumsBeside(entry))
  const rows: [string, string | undefined][] = [
    ['kind', kind],
    ['path', path],
    ['size', `${bytes} bytes (${readableBytes(bytes)})`],
    ['family', family],
    ['dtype', dtype],
    ['about', description],
    ['draws', subjects && listed(subjects)],
    ['parameters', facts && `${(facts.parameters / 1e6).toFixed(2)} million in ${facts.tensors} tensors`],
    ['few steps', facts?.fewSteps && fewSteps(facts.fewSteps)],
    [
      'SHA-256',
      sums?.size === 1 ? [...sums.values()][0] : sums && `${sums.size} files in ${sumsBeside(entry)}`,
    ],
    ['problem', problem?.detail],
    ...remarks.map((remark): [string, string] => ['note', remark]),
  ]
  const lines = rows.flatMap(([label, value]) =>
    value === undefined ? [] : [`  ${label.padEnd(10)} ${value}`],
  )
  return [name, ...lines].join('\n')
}
