import { runInNewContext } from 'node:vm'

/** A pattern comes from a file: one that backtracks without end is stopped. */
const limitMs = 1000

const matching = `
  const expressions = patterns.map((pattern) => new RegExp('^(?:.*\\\\.)?(?:' + pattern.replaceAll('(?P<', '(?<') + ')$'))
  names.map((name) => expressions.findIndex((expression) => expression.test(name)))
`

/**
 * For each name the index of the first pattern that matches it, or -1: like PEFT's get_pattern_key, which matches a
 * regular expression with the whole name or with its end after a dot.
 * @throws Error if a pattern is not a regular expression, or takes too long
 */
export function firstMatches(patterns: readonly string[], names: readonly string[]): readonly number[] {
  if (patterns.length === 0) return names.map(() => -1)
  const found: unknown = runInNewContext(matching, { patterns, names }, { timeout: limitMs })
  return Array.from(found as ArrayLike<number>)
}
