import type { Panel } from '../dashboards/dashboard.ts'
import { ticks, written } from './values.ts'

/** Panels as SVG and HTML: what Grafana would show of the same answers, without being it. */

export interface Series {
  readonly legend: string
  /** Seconds since 1970, and values; a gap is missing. */
  readonly points: readonly (readonly [at: number, value: number])[]
}

export interface Range {
  readonly from: number
  readonly to: number
  readonly step: number
}

export interface Size {
  readonly width: number
  readonly height: number
}

const palette = ['#73bf69', '#f2cc0c', '#5794f2', '#ff9830', '#f2495c', '#b877d9', '#8ab8ff', '#ffcb7d']
const colours: Readonly<Record<string, string>> = {
  green: '#73bf69',
  yellow: '#f2cc0c',
  orange: '#ff9830',
  red: '#f2495c',
  blue: '#5794f2',
  text: '#4a4d54',
}

export function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
}

const colourOf = (index: number) => palette[index % palette.length] ?? '#fff'
const nothing = '<p class="none">No data</p>'

export function drawNumber({ unit = 'short', steps = [] }: Panel, series: readonly Series[]): string {
  const value = series[0]?.points.at(-1)?.[1]
  if (value === undefined) return nothing
  const colour = steps.filter(([from]) => value >= from).at(-1)?.[1] ?? 'green'
  const shown = colour === 'text' ? '#d8d9da' : colours[colour]
  return `<p class="number" style="color:${shown}">${written(value, unit)}</p>`
}

/** Where the times of a range are, from left to right, with a mark about every 100 px. */
function timeAxis(
  { from, to }: Range,
  left: number,
  right: number,
  bottom: number,
): [(at: number) => number, string] {
  const x = (at: number) => left + ((at - from) / (to - from)) * (right - left)
  const sizes = [5, 10, 30, 60, 120, 300, 600, 1800, 3600, 10_800, 21_600, 86_400]
  const size = sizes.find((seconds) => ((to - from) / seconds) * 90 <= right - left) ?? 86_400
  const marks: string[] = []
  for (let at = Math.ceil(from / size) * size; at <= to; at += size) {
    const label = new Date(at * 1000).toISOString().slice(11, size < 60 ? 19 : 16)
    marks.push(`<text x="${x(at)}" y="${bottom + 14}" text-anchor="middle">${label}</text>`)
  }
  return [x, marks.join('')]
}

export function drawLines(panel: Panel, series: readonly Series[], range: Range, size: Size): string {
  if (!series.some(({ points }) => points.length > 0)) return nothing
  const { unit = 'short', steps = [], stacked = false } = panel
  const shown = stacked ? onTopOfEachOther(series) : series.map((each) => ({ ...each, below: undefined }))
  const values = shown.flatMap(({ points }) => points.map(([, value]) => value))
  const least = Math.min(panel.min ?? 0, ...values)
  const marks = ticks(least, panel.max ?? (Math.max(...values) > least ? Math.max(...values) : least + 1))
  const [bottom, top] = [size.height - 18, 6]
  const [lowest, highest] = [marks[0] ?? 0, marks.at(-1) ?? 1]
  const y = (value: number) => bottom - ((value - lowest) / (highest - lowest)) * (bottom - top)
  const [x, times] = timeAxis(range, 58, size.width - 6, bottom)
  const grid = marks.map(
    (value) =>
      `<line x1="58" x2="${size.width - 6}" y1="${y(value)}" y2="${y(value)}" class="grid"/><text x="52" y="${y(value) + 4}" text-anchor="end">${written(value, unit)}</text>`,
  )
  const limits = steps
    .filter(([from]) => from > lowest && from <= highest)
    .map(
      ([from, colour]) =>
        `<line x1="58" x2="${size.width - 6}" y1="${y(from)}" y2="${y(from)}" stroke="${colours[colour]}" stroke-dasharray="6 4"/>`,
    )
  const place = ([at, value]: readonly [number, number]) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`
  const lines = shown.map(({ points, below }, index) => {
    const colour = colourOf(index)
    const floor = new Map(below)
    const areas = unbroken(below === undefined ? [] : points, range.step).map((part) => {
      const back = part.toReversed().map(([at]) => [at, floor.get(at) ?? 0] as const)
      return `<polygon points="${[...part, ...back].map(place).join(' ')}" fill="${colour}" fill-opacity="0.4"/>`
    })
    const parts = unbroken(points, range.step).map((part) => {
      const [only] = part
      if (part.length === 1 && only)
        return `<circle cx="${x(only[0])}" cy="${y(only[1])}" r="1.5" fill="${colour}"/>`
      return `<polyline points="${part.map(place).join(' ')}" fill="none" stroke="${colour}" stroke-width="1.5"/>`
    })
    return [...areas, ...parts].join('')
  })
  const legend = series
    .map(
      ({ legend }, index) => `<span><i style="background:${colourOf(index)}"></i>${escaped(legend)}</span>`,
    )
    .join('')
  return `<svg width="${size.width}" height="${size.height}">${grid.join('')}${times}${lines.join('')}${limits.join('')}</svg><p class="legend">${legend}</p>`
}

/** Grafana does not join what a scrape is missing between. */
function unbroken(points: Series['points'], step: number): Series['points'][] {
  const parts: (readonly [number, number])[][] = []
  let last = Number.NEGATIVE_INFINITY
  for (const point of points) {
    if (point[0] - last > step * 1.5) parts.push([])
    parts.at(-1)?.push(point)
    last = point[0]
  }
  return parts
}

function onTopOfEachOther(series: readonly Series[]) {
  const sums = new Map<number, number>()
  return series.map(({ legend, points }) => {
    const below = points.map(([at]) => [at, sums.get(at) ?? 0] as const)
    for (const [at, value] of points) sums.set(at, (sums.get(at) ?? 0) + value)
    return { legend, below, points: points.map(([at]) => [at, sums.get(at) ?? 0] as const) }
  })
}

export function drawStates(
  { names = {} }: Panel,
  series: readonly Series[],
  range: Range,
  size: Size,
): string {
  if (series.length === 0) return nothing
  const left = 190
  const bottom = size.height - 18
  const height = Math.min(26, bottom / series.length)
  const [x, times] = timeAxis(range, left, size.width - 6, bottom)
  const rows = series.map(({ legend, points }, row) => {
    const bars = points.map(([at, value]) => {
      const colour = colours[names[value]?.[1] ?? 'text'] ?? '#888'
      const width = Math.max(1, x(at + range.step) - x(at) + 0.5)
      return `<rect x="${x(at).toFixed(1)}" y="${row * height + 2}" width="${width.toFixed(1)}" height="${height - 4}" fill="${colour}"/>`
    })
    return `<text x="${left - 8}" y="${row * height + height / 2 + 4}" text-anchor="end">${escaped(legend)}</text>${bars.join('')}`
  })
  return `<svg width="${size.width}" height="${size.height}">${rows.join('')}${times}</svg>`
}

/** Paragraphs, bold and code of Markdown. */
export function drawText({ about }: Panel): string {
  return escaped(about)
    .split('\n\n')
    .map(
      (text) =>
        `<p>${text.replaceAll(/\*\*(.+?)\*\*/g, '<b>$1</b>').replaceAll(/`(.+?)`/gs, '<code>$1</code>')}</p>`,
    )
    .join('')
}
