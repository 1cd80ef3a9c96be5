import type { Part, Question } from './questions.ts'

export interface Answer {
  readonly question: Question
  readonly seen: Readonly<Record<Part, string | number>>
}

/** For one part: in how many pictures it was requested, and in how many of those it was detected. */
export interface Share {
  readonly asked: number
  readonly right: number
}

export const parts = [
  'kind',
  'colour',
  'background',
  'count',
  'light',
  'camera',
] as const satisfies readonly Part[]

export function shareOf(answers: readonly Answer[], ...wanted: readonly Part[]): Share {
  const asked = answers.filter(({ question }) => wanted.some((part) => question.must[part] !== undefined))
  const right = asked.filter(({ question, seen }) =>
    wanted.every((part) => question.must[part] === undefined || question.must[part] === seen[part]),
  )
  return { asked: asked.length, right: right.length }
}

export function percent({ asked, right }: Share): string {
  return asked === 0 ? '' : `${((100 * right) / asked).toFixed(1)} %`
}

/** The most frequent mistakes: "lime as lemon (7 of 19)", the worst first. */
export function confusions(answers: readonly Answer[], part: Part, most: number): string[] {
  const byAsked = Map.groupBy(
    answers.filter(({ question }) => question.must[part] !== undefined),
    ({ question }) => question.must[part],
  )
  const wrong = [...byAsked].flatMap(([asked, all]) => {
    const seen = Map.groupBy(
      all.map(({ seen }) => seen[part]).filter((value) => value !== asked),
      (value) => value,
    )
    return [...seen].map(([value, found]) => ({
      times: found.length,
      text: `${asked} as ${value} (${found.length} of ${all.length})`,
    }))
  })
  return wrong
    .toSorted((a, b) => b.times - a.times)
    .slice(0, most)
    .map(({ text }) => text)
}
