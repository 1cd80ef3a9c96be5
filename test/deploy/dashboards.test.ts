import assert from 'node:assert/strict'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { before, test } from 'node:test'
import { parse, stringify } from 'yaml'
import { dashboards } from '../../scripts/dashboards/all.ts'
import { datasource, grafanaJson, placed } from '../../scripts/dashboards/dashboard.ts'
import { tempFolder } from '../cleanup.ts'
import { exporters, packshotSeries, recorded } from './known-names.ts'
import { allRules, checked, deploy, ensurePrometheus } from './prometheus-tools.ts'
import { selectorsOf, withoutVariables } from './promql.ts'

before(ensurePrometheus)

const folder = deploy('grafana/dashboards')
const panels = Object.entries(dashboards).flatMap(([file, { rows }]) =>
  rows.flatMap((row) => row.panels.map((panel) => ({ file, panel }))),
)
const queries = panels.flatMap(({ file, panel }) =>
  (panel.queries ?? []).map(({ expr }) => ({ file, title: panel.title, expr })),
)

test('the dashboards in deploy/ are what scripts/dashboards.ts writes', () => {
  assert.deepEqual(readdirSync(folder).toSorted(), Object.keys(dashboards).toSorted())
  for (const [file, dashboard] of Object.entries(dashboards)) {
    const kept = JSON.parse(readFileSync(join(folder, file), 'utf8'))
    assert.deepEqual(kept, grafanaJson(dashboard), `${file}: run node scripts/dashboards.ts`)
  }
})

test('Grafana finds the source of each panel, and no panel hides another', () => {
  const { datasources } = parse(
    readFileSync(deploy('grafana/provisioning/datasources/packshot.yml'), 'utf8'),
  ) as { datasources: { uid: string; type: string }[] }
  assert.deepEqual(
    datasources.map(({ type, uid }) => ({ type, uid })),
    [datasource],
  )
  const uids = Object.values(dashboards).map(({ uid }) => uid)
  assert.equal(new Set(uids).size, uids.length)
  for (const dashboard of Object.values(dashboards)) {
    assert.match(dashboard.uid, /^[a-z-]{1,40}$/)
    const taken = new Set<string>()
    for (const { x, y, w, h } of placed(dashboard)) {
      assert.ok(x + w <= 24, `${dashboard.title}: 24 columns`)
      for (let row = y; row < y + h; row += 1) {
        for (let column = x; column < x + w; column += 1) {
          const place = `${column},${row}`
          assert.ok(!taken.has(place), `${dashboard.title}: two panels at ${place}`)
          taken.add(place)
        }
      }
    }
  }
})

test('each panel says what to read from it, and has a query unless it is text', () => {
  for (const { file, panel } of panels) {
    assert.ok(panel.about, `${file}: ${panel.title}`)
    assert.equal(panel.kind === 'text', panel.queries === undefined, `${file}: ${panel.title}`)
  }
})

test('Prometheus can read every query, and every variable in it exists', (t) => {
  const usual = ['__rate_interval', '__range']
  for (const { file, title, expr } of queries) {
    const own = (dashboards[file]?.variables ?? []).map(({ name }) => name)
    for (const [, name = ''] of expr.matchAll(/\$(\w+)/g))
      assert.ok([...usual, ...own].includes(name), `${file}: ${title}: $${name}`)
  }
  const rules = queries.map(({ expr }, index) => ({
    record: `panel:${index}`,
    expr: withoutVariables(expr),
  }))
  const file = join(tempFolder(t), 'panels.yml')
  writeFileSync(file, stringify({ groups: [{ name: 'panels', rules }] }))
  assert.match(checked('promtool', 'check', 'rules', file), new RegExp(`${rules.length} rules found`))
})

test('rules, panels and variables use only series and labels that exist', () => {
  const ours = packshotSeries()
  assert.ok(ours.size > 20, 'docs/metrics.md has a table')
  const others = new Set<string>([...recorded(), ...Object.values(exporters).flat()])
  const everywhere = ['role', 'job', 'instance']
  const used = new Set<string>()
  const check = (expr: string, where: string) => {
    for (const { name, labels } of selectorsOf(withoutVariables(expr))) {
      used.add(name)
      const own = ours.get(name)
      assert.ok(own !== undefined || others.has(name), `${where}: ${name}`)
      for (const label of own ? labels : [])
        assert.ok([...(own ?? []), ...everywhere].includes(label), `${where}: ${name} has no label ${label}`)
    }
  }
  for (const { alert, record, expr } of allRules()) check(expr, alert ?? record ?? '')
  for (const { file, title, expr } of queries) check(expr, `${file}: ${title}`)
  for (const [file, { variables = [] }] of Object.entries(dashboards)) {
    for (const { name, query } of variables) {
      const [, series = '', label = ''] = /^label_values\((\w+), (\w+)\)$/.exec(query) ?? []
      check(`${series}{${label}="x"}`, `${file}: $${name}`)
    }
  }
  const unused = Object.values(exporters)
    .flat()
    .filter((name) => !used.has(name))
  assert.deepEqual(unused, [])
})
