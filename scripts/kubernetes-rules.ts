import { globSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse, stringify } from 'yaml'

/**
 * Writes the rules of deploy/prometheus as the object that the Prometheus Operator reads:
 * deploy/kubernetes/components/monitoring/rules.yaml. A test compares the two.
 *
 *   node scripts/kubernetes-rules.ts
 */
const deploy = join(import.meta.dirname, '../deploy')
const groups = globSync('prometheus/rules/*.yml', { cwd: deploy })
  .sort()
  .flatMap((file): unknown[] => parse(readFileSync(join(deploy, file), 'utf8')).groups)
const object = {
  apiVersion: 'monitoring.coreos.com/v1',
  kind: 'PrometheusRule',
  metadata: { name: 'packshot', labels: { 'app.kubernetes.io/name': 'packshot' } },
  spec: { groups },
}
writeFileSync(
  join(deploy, 'kubernetes/components/monitoring/rules.yaml'),
  `# Made by scripts/kubernetes-rules.ts from deploy/prometheus/rules: change it there.\n${stringify(object, { lineWidth: 120 })}`,
)
