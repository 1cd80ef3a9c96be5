import type { Dashboard } from './dashboard.ts'
import { quantiles, rates } from './queries.ts'

const about = `A job is **accepted** (a confirmed message in RabbitMQ), **waits**, is **taken** by a worker, which makes the **steps**,
**stores** the pictures and the manifest, and ends. Its **webhook** follows. The graphs below are in this order: where does the time go?

One job: its id is in no metric. \`docker compose logs | grep '"job":"FIRST-26-CHARACTERS'\` shows its way through servers
and workers; with tracing on, its trace id is in these lines. \`npm run jobs -- list\` shows what waits.`

export const jobWay: Dashboard = {
  uid: 'packshot-job',
  title: "Packshot: one job's way",
  about: 'Where the time of a job goes, stage by stage.',
  from: 'now-6h',
  variables: [
    { name: 'class', label: 'Class', query: 'label_values(packshot_jobs_accepted_total, class)' },
    { name: 'model', label: 'Model', query: 'label_values(packshot_attempt_duration_seconds_count, model)' },
  ],
  rows: [
    { title: 'How to read this', panels: [{ kind: 'text', title: '', about, width: 24, height: 5 }] },
    {
      title: 'Accepted',
      panels: [
        {
          kind: 'lines',
          title: 'Answers to POST',
          about:
            'How long the answer to a submission takes, by route; calls of other APIs wait for their pictures.',
          width: 12,
          unit: 's',
          min: 0,
          queries: quantiles(
            'packshot_http_request_duration_seconds',
            'method="POST", code=~"2.."',
            ['route'],
            [0.95],
          ),
        },
        {
          kind: 'lines',
          title: 'Accepted and refused',
          about: 'Jobs per second, and refusals of any request by code.',
          width: 12,
          unit: 'ops',
          queries: [
            rates('packshot_jobs_accepted_total', ['class'], 'class=~"$class"'),
            { ...rates('packshot_requests_refused_total', ['code']), legend: 'refused: {{code}}' },
          ],
        },
      ],
    },
    {
      title: 'Waits',
      panels: [
        {
          kind: 'lines',
          title: 'From acceptance to the first attempt',
          about: 'Measured when a worker takes the job.',
          width: 12,
          unit: 's',
          min: 0,
          queries: quantiles('packshot_job_wait_seconds', 'class=~"$class"', ['class']),
        },
        {
          kind: 'lines',
          title: 'Work in the queue',
          about: 'Predicted seconds of work of one worker, waiting and in work. KEDA scales on it.',
          width: 12,
          unit: 's',
          min: 0,
          stacked: true,
          queries: [
            {
              expr: 'max by (class) (packshot_queue_work_seconds{class=~"$class"})',
              legend: '{{class}}',
            },
          ],
        },
      ],
    },
    {
      title: 'Made',
      panels: [
        {
          kind: 'lines',
          title: 'An attempt',
          about: 'Attempts that made all pictures of their job, by model and size.',
          width: 8,
          unit: 's',
          min: 0,
          queries: quantiles(
            'packshot_attempt_duration_seconds',
            'model=~"$model"',
            ['model', 'size'],
            [0.5],
          ),
        },
        {
          kind: 'lines',
          title: 'A step',
          about: 'One step of the sampler.',
          width: 8,
          unit: 's',
          min: 0,
          queries: quantiles('packshot_step_duration_seconds', 'model=~"$model"', ['model', 'size'], [0.5]),
        },
        {
          kind: 'lines',
          title: 'How attempts end',
          about:
            'Per second. retried, failed: errors; returned: the worker stops or storage is unavailable; lost: a worker died.',
          width: 8,
          unit: 'ops',
          queries: [rates('packshot_attempts_total', ['outcome'])],
        },
      ],
    },
    {
      title: 'Stored, ended, told',
      panels: [
        {
          kind: 'lines',
          title: 'Calls of the storage by workers',
          about: 'p95 by operation.',
          width: 8,
          unit: 's',
          min: 0,
          queries: quantiles('packshot_storage_request_duration_seconds', 'role="worker"', ['op'], [0.95]),
        },
        {
          kind: 'lines',
          title: 'From acceptance to the end',
          about: 'The whole way.',
          width: 8,
          unit: 's',
          min: 0,
          queries: quantiles('packshot_job_duration_seconds', 'class=~"$class"', ['class'], [0.5, 0.95]),
        },
        {
          kind: 'lines',
          title: 'Failed jobs by code',
          about: 'Per second, by the codes of docs/errors.md.',
          width: 8,
          unit: 'ops',
          queries: [
            rates(
              'packshot_jobs_finished_total',
              ['code', 'model'],
              'status="failed", class=~"$class", model=~"$model"',
            ),
          ],
        },
        {
          kind: 'lines',
          title: 'Tries of webhooks',
          about: 'Per second. retried ones come again, failed ones were given up.',
          width: 12,
          unit: 'ops',
          queries: [rates('packshot_webhook_deliveries_total', ['outcome'])],
        },
        {
          kind: 'lines',
          title: 'Webhooks that wait',
          about: 'At PACKSHOT_WEBHOOKS_MAX they hold up the events of jobs.',
          width: 12,
          min: 0,
          queries: [{ expr: 'max(packshot_webhooks_waiting)', legend: 'waiting' }],
        },
      ],
    },
  ],
}
