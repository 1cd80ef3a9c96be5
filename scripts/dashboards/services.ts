import type { Dashboard, Panel } from './dashboard.ts'
import { dependencies, quantiles, rates, upOrDown } from './queries.ts'

export const services: Dashboard = {
  uid: 'packshot-services',
  title: 'Packshot: broker and storage',
  about: 'RabbitMQ, S3 and Redis as Packshot uses them.',
  from: 'now-6h',
  rows: [
    {
      title: 'Reached',
      panels: [
        {
          kind: 'states',
          title: 'What Packshot needs',
          about: 'Red: nobody reaches it.',
          width: 12,
          height: 5,
          queries: [dependencies],
          names: upOrDown,
        },
        {
          kind: 'states',
          title: 'What can be scraped',
          about: 'By job, the worst of its targets.',
          width: 12,
          height: 5,
          queries: [{ expr: 'min by (job) (up)', legend: '{{job}}' }],
          names: { 0: ['down', 'red'], 1: ['up', 'green'] },
        },
      ],
    },
    {
      title: 'RabbitMQ',
      panels: [
        {
          kind: 'lines',
          title: 'Messages by queue',
          about: 'Queues that hold any. parked: for a person to look at.',
          width: 12,
          min: 0,
          queries: [{ expr: 'max by (queue) (rabbitmq_detailed_queue_messages) > 0', legend: '{{queue}}' }],
        },
        {
          kind: 'lines',
          title: 'Messages per second',
          about: 'Confirmed to publishers, delivered, redelivered.',
          width: 12,
          unit: 'ops',
          min: 0,
          queries: [
            {
              expr: 'sum(rate(rabbitmq_global_messages_confirmed_total[$__rate_interval]))',
              legend: 'confirmed',
            },
            {
              expr: 'sum(rate(rabbitmq_global_messages_delivered_total[$__rate_interval]))',
              legend: 'delivered',
            },
            {
              expr: 'sum(rate(rabbitmq_global_messages_redelivered_total[$__rate_interval]))',
              legend: 'redelivered',
            },
            {
              expr: 'sum(rate(rabbitmq_global_messages_unroutable_returned_total[$__rate_interval]))',
              legend: 'unroutable',
            },
          ],
        },
        {
          kind: 'lines',
          title: 'Memory',
          about: 'At the limit it takes no messages.',
          width: 8,
          unit: 'bytes',
          min: 0,
          queries: [
            { expr: 'sum by (instance) (rabbitmq_process_resident_memory_bytes)', legend: '{{instance}}' },
            {
              expr: 'sum by (instance) (rabbitmq_resident_memory_limit_bytes)',
              legend: 'limit of {{instance}}',
            },
          ],
        },
        {
          kind: 'lines',
          title: 'Free disk',
          about: 'At the limit it takes no messages.',
          width: 8,
          unit: 'bytes',
          min: 0,
          queries: [
            { expr: 'min by (instance) (rabbitmq_disk_space_available_bytes)', legend: '{{instance}}' },
            {
              expr: 'max by (instance) (rabbitmq_disk_space_available_limit_bytes)',
              legend: 'limit of {{instance}}',
            },
          ],
        },
        {
          kind: 'lines',
          title: 'Connections and channels',
          about: 'Each process of Packshot has two connections.',
          width: 8,
          min: 0,
          queries: [
            { expr: 'sum(rabbitmq_connections)', legend: 'connections' },
            { expr: 'sum(rabbitmq_channels)', legend: 'channels' },
          ],
        },
      ],
    },
    {
      title: 'Storage',
      panels: [
        ...callPanels(
          'packshot_storage_request_duration_seconds',
          'unavailable: no answer; error: an answer that says no.',
        ),
        {
          kind: 'lines',
          title: 'Results deleted after their time',
          about: 'Jobs per second.',
          width: 12,
          unit: 'ops',
          min: 0,
          queries: [
            { expr: 'sum(rate(packshot_expired_results_total[$__rate_interval]))', legend: 'deleted' },
          ],
        },
        {
          kind: 'lines',
          title: 'Free disk of the data folder',
          about: 'Only where results are kept there.',
          width: 12,
          unit: 'bytes',
          min: 0,
          queries: [{ expr: 'min by (instance) (packshot_disk_free_bytes)', legend: '{{instance}}' }],
        },
      ],
    },
    {
      title: 'Redis (status)',
      panels: [
        ...callPanels(
          'packshot_status_request_duration_seconds',
          'Everything works without it, only slower.',
        ),
      ],
    },
    {
      title: 'Proxy (Traefik)',
      panels: [
        {
          kind: 'lines',
          title: 'Answers by status',
          about: 'As users see them: 502 and 503 may be its own.',
          width: 12,
          unit: 'reqps',
          stacked: true,
          queries: [rates('traefik_service_requests_total', ['code'])],
        },
        {
          kind: 'lines',
          title: 'Days until certificates end',
          about: 'Renewed at 30.',
          width: 12,
          unit: 'd',
          min: 0,
          queries: [
            {
              expr: '(min by (cn) (traefik_tls_certs_not_after) - time()) / 86400',
              legend: '{{cn}}',
            },
          ],
          steps: [
            [0, 'red'],
            [14, 'green'],
          ],
        },
      ],
    },
  ],
}

/** @param metric the histogram of the calls of a service @param failing what it means that they fail */
function callPanels(metric: string, failing: string): Panel[] {
  return [
    {
      kind: 'lines',
      title: 'Calls by operation',
      about: 'Per second.',
      width: 8,
      unit: 'ops',
      stacked: true,
      queries: [rates(`${metric}_count`, ['op'])],
    },
    {
      kind: 'lines',
      title: 'Calls that fail',
      about: failing,
      width: 8,
      unit: 'ops',
      queries: [rates(`${metric}_count`, ['op', 'outcome'], 'outcome!="ok"')],
    },
    {
      kind: 'lines',
      title: 'How long they take',
      about: 'p95 by operation.',
      width: 8,
      unit: 's',
      min: 0,
      queries: quantiles(metric, '', ['op'], [0.95]),
    },
  ]
}
