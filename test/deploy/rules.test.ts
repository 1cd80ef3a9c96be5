import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { before, test } from 'node:test'
import { parse, stringify } from 'yaml'
import { tempFolder } from '../cleanup.ts'
import {
  alerts,
  allRules,
  checked,
  deploy,
  ensurePrometheus,
  ruleFiles,
  rulePaths,
} from './prometheus-tools.ts'
import { healthy, type RuleCase, ruleCases } from './rule-cases.ts'

before(ensurePrometheus)

test('Prometheus accepts its configuration and the rules', () => {
  const said = checked(
    'promtool',
    'check',
    'config',
    '--lint=all',
    '--lint-fatal',
    deploy('prometheus/prometheus.yml'),
  )
  assert.match(said, /is valid prometheus config/)
})

/** Rates before what reads them, in each round. */
const groups = ruleFiles()
  .flatMap((file) => file.groups.map(({ name }) => name))
  .toSorted((a, b) => Number(b.startsWith('packshot-rates')) - Number(a.startsWith('packshot-rates')))

/** The longer a case, the fewer its rounds: each reads all that came before. */
function promtoolTests(cases: readonly RuleCase[], minutesOfRound: number) {
  const tests = cases.map(({ alert, what, values, minutesOfValue, series, fires, also }) => ({
    name: `${alert}: ${what}`,
    interval: `${minutesOfValue}m`,
    input_series: Object.entries({ ...healthy(values, minutesOfValue), ...series }).map(
      ([name, notation]) => ({
        series: name,
        values: notation,
      }),
    ),
    promql_expr_test: [
      {
        expr: 'group by (alertname) (ALERTS{alertstate="firing", severity!="none"})',
        eval_time: `${values * minutesOfValue}m`,
        exp_samples: [...(fires ? [alert] : []), ...also].map((name) => ({
          labels: `{alertname="${name}"}`,
          value: 1,
        })),
      },
    ],
  }))
  const evaluation_interval = `${minutesOfRound}m`
  return { rule_files: rulePaths, evaluation_interval, group_eval_order: groups, tests }
}

test('each alert fires in its case, alone, and not in the one beside it', (t) => {
  const folder = tempFolder(t)
  const roundOf = ({ values, minutesOfValue }: RuleCase) =>
    minutesOfValue > 1 ? 30 : values >= 40 && values % 5 === 0 ? 5 : 1
  for (const [round, cases] of Map.groupBy(ruleCases, roundOf)) {
    const file = join(folder, `${round}.yml`)
    writeFileSync(file, stringify(promtoolTests(cases, round)))
    checked('promtool', 'test', 'rules', file)
  }
  for (const { alert, labels } of alerts()) {
    if (labels?.severity === 'none') continue
    const own = ruleCases.filter((each) => each.alert === alert)
    assert.ok(own.some(({ fires }) => fires) && own.some(({ fires }) => !fires), `cases of ${alert}`)
  }
})

test('each alert says how bad it is, what happened, and where the runbook has it', () => {
  const runbook = readFileSync(deploy('../docs/runbook.md'), 'utf8')
  const headings = [...runbook.matchAll(/^### (Packshot\w+)$/gm)].map(([, name]) => name)
  const names = alerts().map(({ alert }) => alert)
  assert.deepEqual(headings.toSorted(), names.toSorted())
  for (const { alert, labels, annotations } of alerts()) {
    assert.match(labels?.severity ?? '', /Watchdog|Outage/.test(alert) ? /^none$/ : /^(page|ticket)$/, alert)
    assert.equal(annotations?.runbook_url, `docs/runbook.md#${alert.toLowerCase()}`)
    assert.ok(annotations?.summary && annotations.description, alert)
  }
})

interface Inhibition {
  readonly source_matchers: readonly string[]
  readonly target_matchers: readonly string[]
}

test('Alertmanager accepts its configuration; pages reach the pager and tickets do not', () => {
  const file = deploy('alertmanager/alertmanager.yml')
  checked('amtool', 'check-config', file)
  const receiver = (...labels: string[]) =>
    checked('amtool', 'config', 'routes', 'test', `--config.file=${file}`, ...labels).trim()
  assert.equal(receiver('alertname=PackshotServersDown', 'severity=page'), 'page')
  assert.equal(receiver('alertname=PackshotWaitIsLong', 'severity=ticket'), 'ticket')
  assert.equal(receiver('alertname=PackshotWatchdog', 'severity=none'), 'watchdog')
  assert.equal(receiver('alertname=PackshotOutage', 'severity=none'), 'nobody')
})

test('no two alerts keep one another back, and each that an inhibition names exists', () => {
  const { inhibit_rules } = parse(readFileSync(deploy('alertmanager/alertmanager.yml'), 'utf8')) as {
    inhibit_rules: readonly Inhibition[]
  }
  const names = alerts().map(({ alert }) => alert)
  const chosen = (matchers: readonly string[]): string[] => {
    const isOutage = matchers[0] === 'alertname = PackshotOutage'
    const matcher = matchers[isOutage ? 1 : 0] ?? ''
    const [, operator, text = ''] = /^(?:alertname|cause) (=~?) "?([^"]+)"?$/.exec(matcher) ?? []
    const found = names.filter((name) =>
      operator === '=' ? name === text : new RegExp(`^(${text})$`).test(name),
    )
    // each alternative is there for an alert
    for (const part of /\((.*)\)/.exec(text)?.[1]?.split('|') ?? []) {
      assert.ok(
        found.some((name) => new RegExp(`^Packshot${part}$`).test(name)),
        part,
      )
    }
    assert.notDeepEqual(found, [], matcher)
    const outage = allRules().find(({ alert }) => alert === 'PackshotOutage')?.expr ?? ''
    if (isOutage) assert.ok(outage.includes(text.replace('Packshot', '')), `${text} is no cause`)
    return found
  }
  const keptBack = new Map<string, Set<string>>()
  for (const { source_matchers, target_matchers } of inhibit_rules) {
    for (const source of chosen(source_matchers)) {
      const targets = keptBack.get(source) ?? new Set()
      for (const target of chosen(target_matchers)) targets.add(target)
      keptBack.set(source, targets)
    }
  }
  const reaches = (from: string, seen = new Set<string>()): Set<string> => {
    for (const next of keptBack.get(from) ?? []) {
      if (!seen.has(next)) reaches(next, seen.add(next))
    }
    return seen
  }
  for (const name of names) assert.ok(!reaches(name).has(name), `${name} keeps itself back`)
})

test('the runbook names only commands, settings and entries that exist', () => {
  const read = (path: string) => readFileSync(deploy('..', path), 'utf8')
  const [runbook, settings] = [read('docs/runbook.md'), read('docs/config.md')]
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
  for (const [, name = ''] of runbook.matchAll(/npm\s+run (\w+)/g)) assert.ok(name in scripts, name)
  for (const [name] of runbook.matchAll(/PACKSHOT_\w+/g)) assert.ok(settings.includes(`\`${name}\``), name)
  const anchors = new Set([...runbook.matchAll(/^### (\w+)$/gm)].map(([, name]) => `#${name?.toLowerCase()}`))
  for (const [, anchor = ''] of runbook.matchAll(/\]\((#\w+)\)/g)) assert.ok(anchors.has(anchor), anchor)
})
