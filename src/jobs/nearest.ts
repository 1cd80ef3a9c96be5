/** The known name most likely meant by a misspelt one; undefined when none is close. */
export function nearest(name: string, known: readonly string[]): string | undefined {
  const wanted = normal(name)
  const ranked = known
    .map((each) => ({ each, distance: distance(wanted, normal(each)) }))
    .sort((a, b) => a.distance - b.distance)
  const best = ranked[0]
  return best !== undefined && best.distance <= Math.max(2, Math.floor(best.each.length / 3))
    ? best.each
    : undefined
}

/** Spelling habits (camelCase, dashes) make no difference. Names longer than any known one are cut. */
function normal(name: string): string {
  return name.slice(0, 64).replace(/[-_]/g, '').toLowerCase()
}

/** Levenshtein's distance, one row at a time. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i]
    for (let j = 1; j <= b.length; j += 1) {
      const substitute = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(substitute, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1))
    }
    row = next
  }
  return row[b.length] ?? 0
}
