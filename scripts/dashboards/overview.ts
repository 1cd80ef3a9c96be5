import type { Dashboard } from './dashboard.ts'
import { dependencies, firing, quantiles, rates, shared, upOrDown } from './queries.ts'

export const overview: Dashboard = {
  uid: 'packshot-overview',
  title: 'Packshot: overview',
  about: 'Is it well? If not, which part? Each alert has an entry in docs/runbook.md.',
  from: 'now-6h',
  rows: [
    {
      title: 'Now',
      panels: [
        {
          kind: 'number',
          title: 'Alerts',
          about: 'Alerts that fire now, pages and tickets.',
          width: 3,
          queries: [{ expr: 'count(ALERTS{alertstate="firing", severity=~"page|ticket"}) or vector(0)' }],
          steps: [[1, 'red']],
        },
        {
          kind: 'number',
          title: 'Answers without error',
          about: 'Of the last 5 minutes; the objective is 99.9 %.',
          width: 4,
          unit: 'percentunit',
          queries: [{ expr: '1 - packshot:answers_bad:rate5m / (packshot:answers:rate5m > 0)' }],
          steps: [
            [0, 'red'],
            [0.99, 'orange'],
            [0.999, 'green'],
          ],
        },
        {
          kind: 'number',
          title: 'Jobs in time',
          about: 'Interactive jobs of the last 5 minutes that ended within 60 s; the objective is 95 %.',
          width: 4,
          unit: 'percentunit',
          queries: [{ expr: '1 - packshot:jobs_late:rate5m / (packshot:jobs:rate5m > 0)' }],
          steps: [
            [0, 'red'],
            [0.8, 'orange'],
            [0.95, 'green'],
          ],
        },
        {
          kind: 'number',
          title: 'Jobs unfinished',
          about: 'Waiting and in work.',
          width: 3,
          queries: [{ expr: 'sum(max by (class) (packshot_queue_jobs))' }],
        },
        {
          kind: 'number',
          title: 'Until done',
          about: 'Predicted seconds until the workers of now have made all that waits.',
          width: 4,
          unit: 's',
          queries: [
            {
              expr: 'sum(max by (class) (packshot_queue_work_seconds)) / (max(packshot_queue_consumers) > 0)',
            },
          ],
        },
        {
          kind: 'number',
          title: 'Workers',
          about: 'Workers that take tasks.',
          width: 3,
          queries: [{ expr: 'max(packshot_queue_consumers)' }],
          steps: [
            [0, 'red'],
            [1, 'green'],
          ],
        },
        {
          kind: 'number',
          title: 'Servers',
          about: 'Servers that can be scraped.',
          width: 3,
          queries: [{ expr: 'count(packshot_build_info{role="server"}) or vector(0)' }],
          steps: [
            [0, 'red'],
            [1, 'green'],
          ],
        },
      ],
    },
    {
      title: 'What users see',
      panels: [
        {
          kind: 'lines',
          title: 'Answers by status',
          about: 'Requests per second without health checks. 503 with a full queue is admission at work.',
          width: 8,
          unit: 'reqps',
          stacked: true,
          queries: [rates('packshot_http_request_duration_seconds_count', ['code'], 'route!~"/healthz/.*"')],
        },
        {
          kind: 'lines',
          title: 'Time from job to picture',
          about: 'From acceptance to the end of a job.',
          width: 8,
          unit: 's',
          min: 0,
          queries: quantiles('packshot_job_duration_seconds', '', ['class']),
          steps: [[60, 'red']],
        },
        {
          kind: 'lines',
          title: 'Refused requests by code',
          about: 'What clients were told, by the codes of docs/errors.md.',
          width: 8,
          unit: 'reqps',
          queries: [rates('packshot_requests_refused_total', ['code'])],
        },
      ],
    },
    {
      title: 'Jobs',
      panels: [
        {
          kind: 'lines',
          title: 'Jobs that come and end',
          about: 'Per second. If fewer end than come, the queue grows.',
          width: 8,
          unit: 'ops',
          queries: [
            { expr: 'sum(rate(packshot_jobs_accepted_total[$__rate_interval]))', legend: 'accepted' },
            rates('packshot_jobs_finished_total', ['status']),
          ],
        },
        {
          kind: 'lines',
          title: 'Unfinished jobs',
          about: 'Waiting and in work, by class.',
          width: 8,
          min: 0,
          stacked: true,
          queries: [shared('packshot_queue_jobs')],
        },
        {
          kind: 'lines',
          title: 'The oldest waits for',
          about: 'How long the job that waits longest has waited, by class.',
          width: 8,
          unit: 's',
          min: 0,
          queries: [shared('packshot_queue_oldest_seconds')],
        },
      ],
    },
    {
      title: 'Parts',
      panels: [
        {
          kind: 'states',
          title: 'What Packshot needs',
          about: 'Red: nobody reaches it. Without status (Redis) everything works, only slower.',
          width: 8,
          queries: [dependencies],
          names: upOrDown,
        },
        {
          kind: 'states',
          title: 'Alerts',
          about: 'Which fired when. Alertmanager sends the one that is nearest to the cause.',
          width: 8,
          queries: [firing],
          names: { 1: ['fires', 'red'] },
        },
        {
          kind: 'lines',
          title: 'Workers',
          about: 'Those that take tasks, and those that have one.',
          width: 8,
          min: 0,
          queries: [
            { expr: 'max(packshot_queue_consumers)', legend: 'there' },
            { expr: 'sum(packshot_worker_busy)', legend: 'busy' },
          ],
        },
      ],
    },
  ],
}
