import type { Dashboard } from './dashboard.ts'
import { jobWay } from './job.ts'
import { objectives } from './objectives.ts'
import { overview } from './overview.ts'
import { services } from './services.ts'
import { workers } from './workers.ts'

/** By the name of the file in deploy/grafana/dashboards. */
export const dashboards: Readonly<Record<string, Dashboard>> = {
  'overview.json': overview,
  'job.json': jobWay,
  'workers.json': workers,
  'services.json': services,
  'slo.json': objectives,
}
