import type { Fault } from '../errors.ts'
import type { RequestLimits } from '../fields.ts'
import type { ResolvedRequest } from '../job.ts'
import type { PromptReader } from '../ports.ts'

export interface PromptCost {
  /** Windows of the longer prompt. */
  readonly windows: number
  readonly faults: readonly Fault[]
}

/** What the prompts of a request cost, and why they cost too much. Without guidance the negative prompt is not used. */
export async function promptCost(
  { prompt, negative_prompt, guidance_scale }: ResolvedRequest,
  { promptWindows, promptWeight }: RequestLimits,
  reader: PromptReader,
): Promise<PromptCost> {
  const faults: Fault[] = []
  let windows = 1
  for (const [param, text] of Object.entries({ prompt, negative_prompt })) {
    if (param === 'negative_prompt' && guidance_scale <= 1) continue
    const facts = await reader.read(text, { exactFrom: promptWindows + 1 })
    windows = Math.max(windows, facts.windows)
    if (facts.windows > promptWindows) {
      const rule = `at most ${promptWindows} windows of 75 tokens (BREAK begins a new one)`
      faults.push({ param, message: `${param} must have ${rule}, but had ${facts.windows}. Shorten it.` })
    }
    if (!(facts.weight <= promptWeight)) {
      const given = Number.isFinite(facts.weight) ? Number(facts.weight.toPrecision(6)) : 'beyond any number'
      const rule = `give its words weights from ${-promptWeight} to ${promptWeight} (brackets multiply)`
      faults.push({ param, message: `${param} must ${rule}, but one was ${given}.` })
    }
  }
  return { windows, faults }
}
