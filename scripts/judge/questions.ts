import { readFile } from 'node:fs/promises'

/** The aspects of a picture that are judged; `training/train_judge.py` has the values of each. */
export type Part = 'kind' | 'colour' | 'background' | 'count' | 'light' | 'camera'

/** A prompt, and what a correct picture of it must show. */
export interface Question {
  readonly prompt: string
  readonly must: Readonly<Partial<Record<Part, string | number>>>
}

/** `training/judge/prompts.json`, which `training/judge_prompts.py` writes. */
export interface Questions {
  readonly known: readonly Question[]
  /** Combinations of kind, colour and background that are in no training picture. */
  readonly held_out: readonly Question[]
  readonly varied: readonly Question[]
}

export const judgeFolder = new URL('../../training/judge/', import.meta.url)

export async function readQuestions(): Promise<Questions> {
  return JSON.parse(await readFile(new URL('prompts.json', judgeFolder), 'utf8'))
}
