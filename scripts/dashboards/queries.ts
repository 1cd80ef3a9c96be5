import type { Query } from './dashboard.ts'

/** Queries that several dashboards share. */

/** `of` is a histogram without its suffix; `by` are labels beside `le`. */
export function quantiles(
  of: string,
  matchers: string,
  by: readonly string[],
  levels: readonly number[] = [0.5, 0.95],
): Query[] {
  const labels = ['le', ...by].join(', ')
  const names = by.map((label) => ` {{${label}}}`).join('')
  return levels.map((level) => ({
    expr: `histogram_quantile(${level}, sum by (${labels}) (rate(${of}_bucket{${matchers}}[$__rate_interval])))`,
    legend: `p${level * 100}${names}`,
  }))
}

/** Per second, by labels; what does not happen is left out. */
export function rates(counter: string, by: readonly string[], matchers = ''): Query {
  return {
    expr: `sum by (${by.join(', ')}) (rate(${counter}{${matchers}}[$__rate_interval])) > 0`,
    legend: by.map((label) => `{{${label}}}`).join(' '),
  }
}

/** What every server reads from the shared stores. */
export function shared(gauge: string, by = 'class'): Query {
  return { expr: `max by (${by}) (${gauge})`, legend: `{{${by}}}` }
}

export const dependencies: Query = {
  expr: 'max by (name) (packshot_dependency_up)',
  legend: '{{name}}',
}

export const upOrDown = { 0: ['unavailable', 'red'], 1: ['available', 'green'] } as const

export const firing: Query = {
  expr: 'max by (alertname) (ALERTS{alertstate="firing", severity!="none"})',
  legend: '{{alertname}}',
}
