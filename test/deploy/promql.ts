/** Just enough of PromQL to see which series a query names. */

export interface Selector {
  readonly name: string
  /** Labels that it chooses by. */
  readonly labels: readonly string[]
}

const words = new Set(['and', 'or', 'unless', 'bool', 'offset', 'inf', 'nan'])

/** Every series that the query names. */
export function selectorsOf(expr: string): Selector[] {
  const plain = expr
    .replaceAll(/"(\\.|[^"\\])*"/g, '""')
    .replaceAll(/\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)/g, ' ')
    .replaceAll(/\[[^\]]*\]/g, ' ')
  return [...plain.matchAll(/(?<![\w.:])([a-zA-Z_:][\w:]*)\s*(\{[^}]*\}|\(?)/g)].flatMap(
    ([, name = '', rest = '']) => {
      if (rest === '(' || words.has(name.toLowerCase())) return []
      return [{ name, labels: [...rest.matchAll(/(\w+)\s*(=|!)/g)].map(([, label = '']) => label) }]
    },
  )
}

/** What Grafana puts in place of variables that stand for everything. */
export function withoutVariables(expr: string): string {
  return expr.replaceAll('$__rate_interval', '1m').replaceAll('$__range', '1h').replaceAll(/\$\w+/g, '.*')
}
