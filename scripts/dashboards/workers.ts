import type { Dashboard } from './dashboard.ts'
import { quantiles, rates } from './queries.ts'

const ofInstance = 'role=~"server|worker", instance=~"$instance"'
const ofWorker = 'role="worker", instance=~"$instance"'

export const workers: Dashboard = {
  uid: 'packshot-workers',
  title: 'Packshot: workers and engine',
  about: 'What workers do, how fast the engine is, and what the processes need.',
  from: 'now-6h',
  variables: [
    { name: 'model', label: 'Model', query: 'label_values(packshot_step_duration_seconds_count, model)' },
    { name: 'instance', label: 'Process', query: 'label_values(packshot_build_info, instance)' },
  ],
  rows: [
    {
      title: 'Workers',
      panels: [
        {
          kind: 'states',
          title: 'Busy',
          about: 'One bar for each worker.',
          width: 12,
          queries: [
            {
              expr: `max by (instance) (packshot_worker_busy{${ofWorker}})`,
              legend: '{{instance}}',
            },
          ],
          names: { 0: ['free', 'text'], 1: ['busy', 'blue'] },
        },
        {
          kind: 'lines',
          title: 'Busy workers without progress for',
          about: 'Above 10 minutes a worker is stuck.',
          width: 6,
          unit: 's',
          min: 0,
          queries: [
            {
              expr: `(time() - packshot_worker_last_progress_timestamp_seconds{${ofWorker}}) and packshot_worker_busy == 1`,
              legend: '{{instance}}',
            },
          ],
          steps: [[600, 'red']],
        },
        {
          kind: 'lines',
          title: 'Processes started again',
          about: 'In an hour, by worker.',
          width: 6,
          min: 0,
          queries: [
            {
              expr: `sum by (instance) (increase(packshot_worker_restarts_total{${ofWorker}}[1h]))`,
              legend: '{{instance}}',
            },
          ],
          steps: [[3, 'red']],
        },
        {
          kind: 'lines',
          title: 'Part of the time in work',
          about: 'All workers together. Near 100 % they are the bound: add some.',
          width: 8,
          unit: 'percentunit',
          min: 0,
          max: 1,
          queries: [{ expr: 'avg(avg_over_time(packshot_worker_busy[5m]))', legend: 'busy' }],
        },
        {
          kind: 'lines',
          title: 'Attempts by how they end',
          about: 'Per second.',
          width: 8,
          unit: 'ops',
          stacked: true,
          queries: [rates('packshot_attempts_total', ['outcome'], ofWorker)],
        },
        {
          kind: 'lines',
          title: 'Parked messages',
          about: 'Given up within the hour: none should be.',
          width: 8,
          min: 0,
          queries: [{ expr: 'sum(increase(packshot_dead_letters_total[1h]))', legend: 'parked' }],
          steps: [[1, 'red']],
        },
      ],
    },
    {
      title: 'Engine',
      panels: [
        {
          kind: 'lines',
          title: 'A step, by model and size',
          about:
            'Median. It changes with the machine, not with the load: a rise means heat, neighbours, or no GPU.',
          width: 8,
          unit: 's',
          min: 0,
          queries: quantiles('packshot_step_duration_seconds', 'model=~"$model"', ['model', 'size'], [0.5]),
        },
        {
          kind: 'lines',
          title: 'Steps per second',
          about: 'Of all workers.',
          width: 8,
          unit: 'ops',
          min: 0,
          queries: [rates('packshot_step_duration_seconds_count', ['model', 'size'], 'model=~"$model"')],
        },
        {
          kind: 'lines',
          title: 'What a picture costs',
          about: 'Seconds of a worker lately, loading and storing included.',
          width: 8,
          unit: 's',
          min: 0,
          queries: [
            {
              expr: 'avg by (model) (packshot_picture_cost_seconds{model=~"$model"})',
              legend: '{{model}}',
            },
          ],
        },
      ],
    },
    {
      title: 'Processes',
      panels: [
        {
          kind: 'lines',
          title: 'Processor',
          about: 'Cores in use.',
          width: 8,
          min: 0,
          queries: [
            {
              expr: `rate(process_cpu_seconds_total{${ofInstance}}[$__rate_interval])`,
              legend: '{{role}} {{instance}}',
            },
          ],
        },
        {
          kind: 'lines',
          title: 'Memory',
          about: 'A worker stays under PACKSHOT_MODEL_MEMORY_MB, a quarter of it, and 640 MiB.',
          width: 8,
          unit: 'bytes',
          min: 0,
          queries: [
            {
              expr: `process_resident_memory_bytes{${ofInstance}}`,
              legend: '{{role}} {{instance}}',
            },
          ],
        },
        {
          kind: 'lines',
          title: 'The event loop is held up for',
          about: 'p99 between two scrapes.',
          width: 8,
          unit: 's',
          min: 0,
          queries: [
            {
              expr: `nodejs_eventloop_lag_p99_seconds{${ofInstance}}`,
              legend: '{{role}} {{instance}}',
            },
          ],
          steps: [[0.5, 'red']],
        },
        {
          kind: 'lines',
          title: 'Connections of clients',
          about: 'Open ones, and event streams among them.',
          width: 8,
          min: 0,
          queries: [
            { expr: 'sum(packshot_http_connections)', legend: 'connections' },
            { expr: 'sum(packshot_event_streams)', legend: 'event streams' },
          ],
        },
        {
          kind: 'lines',
          title: 'Open files and sockets',
          about: 'Of each process.',
          width: 8,
          min: 0,
          queries: [{ expr: `process_open_fds{${ofInstance}}`, legend: '{{role}} {{instance}}' }],
        },
        {
          kind: 'lines',
          title: 'Versions',
          about: 'How many processes run each version.',
          width: 8,
          min: 0,
          stacked: true,
          queries: [
            { expr: 'count by (version, role) (packshot_build_info)', legend: '{{version}} {{role}}' },
          ],
        },
      ],
    },
  ],
}
