import { readFileSync } from 'node:fs'
import { allRules, deploy } from './prometheus-tools.ts'

/** The names of series that rules and dashboards may use. */

/** The labels of each series of Packshot, from docs/metrics.md; those of a histogram by their three names. */
export function packshotSeries(): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, readonly string[]>()
  const table = readFileSync(deploy('../docs/metrics.md'), 'utf8')
  for (const [, name = '', kind, labels = ''] of table.matchAll(
    /^\| `(\w+)` \| (\w+) \| [^|]+ \| ([^|]*) \|/gm,
  )) {
    const own = [...labels.matchAll(/`(\w+)`/g)].map(([, label = '']) => label)
    if (kind !== 'histogram') found.set(name, own)
    else {
      found.set(`${name}_bucket`, [...own, 'le'])
      for (const part of ['sum', 'count']) found.set(`${name}_${part}`, own)
    }
  }
  return found
}

/** What recording rules make. */
export function recorded(): string[] {
  return allRules().flatMap(({ record }) => record ?? [])
}

/** Of programs that are scraped beside Packshot. test/fleet/alarms-of-services.test.ts looks for all but Traefik's in the real ones. */
export const exporters = {
  node: [
    'process_start_time_seconds',
    'process_cpu_seconds_total',
    'process_resident_memory_bytes',
    'process_open_fds',
    'nodejs_eventloop_lag_p99_seconds',
  ],
  rabbitmq: [
    'rabbitmq_alarms_memory_used_watermark',
    'rabbitmq_alarms_free_disk_space_watermark',
    'rabbitmq_disk_space_available_bytes',
    'rabbitmq_disk_space_available_limit_bytes',
    'rabbitmq_process_resident_memory_bytes',
    'rabbitmq_resident_memory_limit_bytes',
    'rabbitmq_connections',
    'rabbitmq_channels',
    'rabbitmq_global_messages_confirmed_total',
    'rabbitmq_global_messages_delivered_total',
    'rabbitmq_global_messages_redelivered_total',
    'rabbitmq_global_messages_unroutable_dropped_total',
    'rabbitmq_global_messages_unroutable_returned_total',
    'rabbitmq_detailed_queue_messages',
  ],
  prometheus: [
    'up',
    'ALERTS',
    'prometheus_notifications_dropped_total',
    'prometheus_rule_evaluation_failures_total',
  ],
  alertmanager: ['alertmanager_notifications_failed_total'],
  // https://doc.traefik.io/traefik/reference/install-configuration/observability/metrics/
  traefik: ['traefik_service_requests_total', 'traefik_tls_certs_not_after'],
} as const
