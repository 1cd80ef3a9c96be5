/** How numbers of panels are written, by the units of Grafana that the dashboards use. */

function rounded(value: number): string {
  const size = Math.abs(value)
  return String(Number(value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3)))
}

function scaled(value: number, base: number, names: readonly string[]): string {
  let [left, index] = [value, 0]
  while (Math.abs(left) >= base && index < names.length - 1) {
    left /= base
    index += 1
  }
  return `${rounded(left)}${names[index] === '' ? '' : ` ${names[index]}`}`
}

export function written(value: number, unit: string): string {
  if (!Number.isFinite(value)) return '–'
  switch (unit) {
    case 'percentunit':
      return `${rounded(value * 100)} %`
    case 's':
      if (value !== 0 && Math.abs(value) < 1) return `${rounded(value * 1000)} ms`
      return Math.abs(value) < 120 ? `${rounded(value)} s` : `${rounded(value / 60)} min`
    case 'bytes':
      return scaled(value, 1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB'])
    case 'reqps':
    case 'ops':
      return `${scaled(value, 1000, ['', 'k', 'M'])}/s`
    case 'd':
      return `${rounded(value)} d`
    default:
      return scaled(value, 1000, ['', 'k', 'M'])
  }
}

/** Round numbers from 0 or below up to what covers the largest. */
export function ticks(least: number, largest: number): number[] {
  const span = largest - least || 1
  const power = 10 ** Math.floor(Math.log10(span / 4))
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => span / size <= 5) ?? span
  const first = Math.floor(least / step) * step
  return Array.from(
    { length: Math.ceil((largest - first) / step - 1e-9) + 1 },
    (_, index) => first + index * step,
  )
}
