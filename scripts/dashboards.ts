import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { dashboards } from './dashboards/all.ts'
import { grafanaJson } from './dashboards/dashboard.ts'

/** `node scripts/dashboards.ts` writes deploy/grafana/dashboards; a test compares them. */

const folder = join(import.meta.dirname, '../deploy/grafana/dashboards')
for (const [name, dashboard] of Object.entries(dashboards)) {
  writeFileSync(join(folder, name), `${JSON.stringify(grafanaJson(dashboard), null, 2)}\n`)
}
