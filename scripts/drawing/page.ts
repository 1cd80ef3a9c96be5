import { type Dashboard, type Panel, placed } from '../dashboards/dashboard.ts'
import { drawLines, drawNumber, drawStates, drawText, escaped, type Range, type Series } from './panels.ts'

/** A dashboard as one page: each query is asked of Prometheus, each panel drawn where Grafana would have it. */

interface Answer {
  readonly status: string
  readonly error?: string
  readonly data: {
    readonly result: readonly {
      readonly metric: Readonly<Record<string, string>>
      readonly values: readonly (readonly [at: number, value: string])[]
    }[]
  }
}

/** Variables stand for everything. A rate needs four scrapes, as Grafana sees to. */
export function resolved(expr: string, range: Range, scrapeSeconds: number): string {
  return expr
    .replaceAll('$__rate_interval', `${Math.max(4 * scrapeSeconds, Math.ceil(range.step) + scrapeSeconds)}s`)
    .replaceAll('$__range', `${Math.ceil(range.to - range.from)}s`)
    .replaceAll(/\$\w+/g, '.*')
}

async function ask(
  address: string,
  expr: string,
  { from, to, step }: Range,
): Promise<Answer['data']['result']> {
  const body = new URLSearchParams({ query: expr, start: String(from), end: String(to), step: String(step) })
  const answer = await fetch(new URL('/api/v1/query_range', address), { method: 'POST', body })
  const { status, error, data } = (await answer.json()) as Answer
  if (status !== 'success') throw new Error(`${expr}: ${error}`)
  return data.result
}

export interface DrawOptions {
  /** Of Prometheus. */
  readonly address: string
  readonly range: Range
  readonly scrapeSeconds: number
}

async function seriesOf(panel: Panel, options: DrawOptions): Promise<Series[]> {
  const { address, range, scrapeSeconds } = options
  const answers = await Promise.all(
    (panel.queries ?? []).map(async ({ expr, legend }) => {
      const found = await ask(address, resolved(expr, range, scrapeSeconds), range)
      return found.map(({ metric, values }) => ({
        legend: (legend ?? panel.title).replaceAll(
          /\{\{(\w+)\}\}/g,
          (_all, label: string) => metric[label] ?? '',
        ),
        points: values
          .map(([at, value]) => [at, Number(value)] as const)
          .filter(([, value]) => Number.isFinite(value)),
      }))
    }),
  )
  return answers.flat().toSorted((a, b) => a.legend.localeCompare(b.legend))
}

const [columnPx, rowPx, gapPx] = [58, 30, 8]

async function draw(
  panel: Panel,
  size: { width: number; height: number },
  options: DrawOptions,
): Promise<string> {
  if (panel.kind === 'text') return drawText(panel)
  const series = await seriesOf(panel, options)
  if (panel.kind === 'number') return drawNumber(panel, series)
  const inner = { width: size.width - 16, height: size.height - (panel.kind === 'lines' ? 62 : 44) }
  return (panel.kind === 'lines' ? drawLines : drawStates)(panel, series, options.range, inner)
}

/** HTML without links to elsewhere. */
export async function pageOf(dashboard: Dashboard, options: DrawOptions): Promise<string> {
  const boxes = await Promise.all(
    placed(dashboard).map(async ({ panel, x, y, w, h }) => {
      const size = { width: w * columnPx - gapPx, height: h * (rowPx + gapPx) - gapPx }
      const place = `left:${x * columnPx}px;top:${y * (rowPx + gapPx)}px;width:${size.width}px;height:${size.height}px`
      if (panel.kind === 'row') return `<h2 style="${place}">${escaped(panel.title)}</h2>`
      const title = panel.title === '' ? '' : `<h3>${escaped(panel.title)}</h3>`
      return `<section style="${place}">${title}${await draw(panel, size, options)}</section>`
    }),
  )
  const height = Math.max(...placed(dashboard).map(({ y, h }) => (y + h) * (rowPx + gapPx)))
  return `<!doctype html><meta charset="utf-8"><title>${escaped(dashboard.title)}</title><style>${style}</style>
<h1>${escaped(dashboard.title)}</h1><main style="width:${24 * columnPx}px;height:${height}px">${boxes.join('\n')}</main>`
}

const style = `
body { margin: 12px 16px; background: #111217; color: #ccccdc; font: 12px/1.4 sans-serif; }
h1 { font-size: 18px; margin: 0 0 10px; font-weight: 500; }
main { position: relative; }
h2, section { position: absolute; margin: 0; box-sizing: border-box; overflow: hidden; }
h2 { font-size: 14px; font-weight: 500; line-height: 30px; }
section { background: #181b1f; border: 1px solid #2c3235; border-radius: 3px; padding: 6px 8px; }
h3 { font-size: 12px; font-weight: 500; margin: 0 0 4px; }
.number { font-size: 34px; margin: 14px 0 0; text-align: center; white-space: nowrap; }
.none { text-align: center; color: #6e7077; margin-top: 24px; }
.legend { margin: 2px 0 0; white-space: nowrap; }
.legend span { margin-right: 12px; }
.legend i { display: inline-block; width: 12px; height: 3px; margin-right: 5px; vertical-align: middle; }
svg { display: block; }
svg text { fill: #9a9ba5; font-size: 11px; }
.grid { stroke: #26292e; }
code { background: #26292e; padding: 1px 3px; }
`
