/** Dashboards as Grafana reads them: classic JSON, schema version 42, which 11 to 13 take from files. */

export interface Query {
  /** PromQL; may use the dashboard's variables, `$__rate_interval` and `$__range`. */
  readonly expr: string
  /** With labels as `{{label}}`. */
  readonly legend?: string
}

/** Below the first, the colour is green; from each on, that of the step. */
type Steps = readonly (readonly [from: number, colour: 'green' | 'yellow' | 'orange' | 'red' | 'text'])[]

export interface Panel {
  /** `lines` over time, one `number` now, `states` over time (a bar for each series), or `text` in Markdown. */
  readonly kind: 'lines' | 'number' | 'states' | 'text'
  readonly title: string
  /** What to read from it. For text: the text. */
  readonly about: string
  readonly queries?: readonly Query[]
  /** A unit of Grafana: `s`, `percentunit`, `reqps`, `bytes`, `short`, `ops`. */
  readonly unit?: string
  /** Of 24 columns. */
  readonly width: number
  readonly height?: number
  readonly steps?: Steps
  readonly stacked?: boolean
  readonly min?: number
  readonly max?: number
  /** What a value is called. */
  readonly names?: Readonly<Record<number, readonly [text: string, colour: string]>>
}

interface Variable {
  readonly name: string
  readonly label: string
  /** `label_values(METRIC, LABEL)` */
  readonly query: string
}

export interface Dashboard {
  readonly uid: string
  readonly title: string
  readonly about: string
  readonly from: string
  readonly variables?: readonly Variable[]
  readonly rows: readonly { readonly title: string; readonly panels: readonly Panel[] }[]
}

export const datasource = { type: 'prometheus', uid: 'packshot-prometheus' } as const

const usualHeight: Record<Panel['kind'], number> = { lines: 8, number: 4, states: 8, text: 6 }
const columns = 24

export interface PlacedPanel {
  readonly panel: Panel | { readonly kind: 'row'; readonly title: string }
  readonly x: number
  readonly y: number
  readonly w: number
  readonly h: number
}

/** Where the panels of a dashboard are: in rows of 24 columns, from left to right; those of a line begin at one height. */
export function placed({ rows }: Dashboard): PlacedPanel[] {
  const found: PlacedPanel[] = []
  let y = 0
  for (const { title, panels } of rows) {
    found.push({ panel: { kind: 'row', title }, x: 0, y, w: columns, h: 1 })
    y += 1
    let [x, tallest] = [0, 0]
    for (const panel of panels) {
      const h = panel.height ?? usualHeight[panel.kind]
      if (x + panel.width > columns) {
        y += tallest
        x = 0
        tallest = 0
      }
      found.push({ panel, x, y, w: panel.width, h })
      x += panel.width
      tallest = Math.max(tallest, h)
    }
    y += tallest
  }
  return found
}

/** The JSON of a dashboard, as an object. */
export function grafanaJson(dashboard: Dashboard): object {
  const { uid, title, about, from, variables = [] } = dashboard
  return {
    uid,
    title,
    description: about,
    tags: ['packshot'],
    schemaVersion: 42,
    version: 1,
    editable: false,
    graphTooltip: 1,
    refresh: '30s',
    timezone: 'browser',
    time: { from, to: 'now' },
    timepicker: {},
    annotations: { list: [alertMarks] },
    links: [
      {
        title: 'Packshot',
        type: 'dashboards',
        tags: ['packshot'],
        asDropdown: false,
        includeVars: false,
        keepTime: true,
      },
    ],
    templating: { list: variables.map(variableJson) },
    panels: placed(dashboard).map(({ panel, x, y, w, h }, index) => ({
      id: index + 1,
      gridPos: { x, y, w, h },
      ...(panel.kind === 'row'
        ? { type: 'row', title: panel.title, collapsed: false, panels: [] }
        : panelJson(panel)),
    })),
  }
}

/** Alerts that page, as marks in every graph. */
const alertMarks = {
  name: 'Pages',
  datasource,
  enable: true,
  hide: false,
  iconColor: 'red',
  expr: 'ALERTS{alertstate="firing", severity="page"}',
  titleFormat: '{{alertname}}',
  step: '60s',
}

function variableJson({ name, label, query }: Variable): object {
  return {
    name,
    label,
    type: 'query',
    datasource,
    query: { query, refId: name },
    refresh: 2,
    sort: 1,
    multi: true,
    includeAll: true,
    allValue: '.*',
    current: { text: ['All'], value: ['$__all'] },
  }
}

function panelJson(panel: Panel): object {
  const { kind, title, about, queries = [] } = panel
  if (kind === 'text') return { type: 'text', title, options: { mode: 'markdown', content: about } }
  return {
    type: { lines: 'timeseries', number: 'stat', states: 'state-timeline' }[kind],
    title,
    description: about,
    datasource,
    targets: queries.map(({ expr, legend }, index) => ({
      refId: String.fromCharCode(65 + index),
      datasource,
      editorMode: 'code',
      expr,
      legendFormat: legend ?? title,
      range: kind !== 'number',
      instant: kind === 'number',
    })),
    fieldConfig: { defaults: fieldJson(panel), overrides: [] },
    options: optionsOf[kind],
  }
}

function fieldJson({ kind, unit = 'short', min, max, steps = [], stacked, names }: Panel): object {
  const mappings = Object.entries(names ?? {}).map(([value, [text, color]], index) => [
    value,
    { text, color, index },
  ])
  return {
    unit,
    ...(min === undefined ? {} : { min }),
    ...(max === undefined ? {} : { max }),
    color: { mode: kind === 'lines' ? 'palette-classic' : 'thresholds' },
    thresholds: {
      mode: 'absolute',
      steps: [{ color: 'green', value: null }, ...steps.map(([value, color]) => ({ color, value }))],
    },
    mappings: mappings.length > 0 ? [{ type: 'value', options: Object.fromEntries(mappings) }] : [],
    custom:
      kind === 'lines'
        ? {
            drawStyle: 'line',
            lineWidth: 1,
            fillOpacity: stacked ? 40 : 10,
            showPoints: 'never',
            spanNulls: false,
            stacking: { mode: stacked ? 'normal' : 'none', group: 'A' },
            thresholdsStyle: { mode: steps.length > 0 ? 'line' : 'off' },
          }
        : {},
  }
}

const optionsOf = {
  lines: {
    legend: { displayMode: 'list', placement: 'bottom', showLegend: true, calcs: [] },
    tooltip: { mode: 'multi', sort: 'desc' },
  },
  number: {
    reduceOptions: { calcs: ['lastNotNull'], fields: '', values: false },
    colorMode: 'value',
    graphMode: 'none',
    textMode: 'auto',
    justifyMode: 'auto',
    orientation: 'auto',
  },
  states: {
    mergeValues: true,
    showValue: 'never',
    rowHeight: 0.8,
    alignValue: 'left',
    legend: { displayMode: 'list', placement: 'bottom', showLegend: false },
    tooltip: { mode: 'single', sort: 'none' },
  },
} as const
