import type { Dashboard, Panel } from './dashboard.ts'

/** What may be bad of all. The same numbers are in deploy/prometheus/rules/objectives.yml. */
const budgets = { answers: 0.001, jobs: 0.05 }

const about = `**Answers**: 99.9 % of the requests of 30 days are answered without a server error. Not counted: health checks, a full queue (503, admission
at work), and calls that were held until their time was over (504).

**Jobs**: 95 % of the interactive jobs of 30 days are final within 60 s of acceptance.

A burn rate of 1 spends the budget in exactly 30 days. Alerts: 14.4 (1 h and 5 m) and 6 (6 h and 30 m) page; 3 (1 d and 2 h) and 1 (3 d and 6 h) are
tickets.`

function left(of: 'answers' | 'jobs', bad: string, title: string): Panel {
  return {
    kind: 'number',
    title,
    about: 'What is left of the budget of 30 days; below 0 the objective is missed.',
    width: 4,
    unit: 'percentunit',
    queries: [
      {
        expr: `1 - sum_over_time(packshot:${bad}:rate5m[30d]) / (sum_over_time(packshot:${of}:rate5m[30d]) > 0) / ${budgets[of]}`,
      },
    ],
    steps: [
      [-1e9, 'red'],
      [0, 'orange'],
      [0.25, 'green'],
    ],
  }
}

function share(of: 'answers' | 'jobs', bad: string, title: string): Panel {
  return {
    kind: 'lines',
    title,
    about: 'The line is what may be bad in the long run.',
    width: 10,
    unit: 'percentunit',
    min: 0,
    queries: ['5m', '1h', '1d'].map((window) => ({
      expr: `packshot:${bad}:rate${window} / (packshot:${of}:rate${window} > 0)`,
      legend: window,
    })),
    steps: [[budgets[of], 'red']],
  }
}

function burn(of: 'answers' | 'jobs', bad: string): Panel {
  return {
    kind: 'lines',
    title: 'Burn rate by window',
    about: '1 spends the budget in 30 days.',
    width: 10,
    min: 0,
    queries: ['5m', '30m', '1h', '6h', '3d'].map((window) => ({
      expr: `packshot:${bad}:rate${window} / (packshot:${of}:rate${window} > 0) / ${budgets[of]}`,
      legend: window,
    })),
    steps: [
      [1, 'yellow'],
      [6, 'orange'],
      [14.4, 'red'],
    ],
  }
}

export const objectives: Dashboard = {
  uid: 'packshot-slo',
  title: 'Packshot: SLO',
  about: 'The two objectives, their budgets, and how fast they burn.',
  from: 'now-7d',
  rows: [
    { title: 'Objectives', panels: [{ kind: 'text', title: '', about, width: 24, height: 5 }] },
    {
      title: 'Answers without a server error: 99.9 %',
      panels: [
        left('answers', 'answers_bad', 'Budget left'),
        share('answers', 'answers_bad', 'Share of server errors'),
        burn('answers', 'answers_bad'),
      ],
    },
    {
      title: 'Interactive jobs within 60 s: 95 %',
      panels: [
        left('jobs', 'jobs_late', 'Budget left'),
        share('jobs', 'jobs_late', 'Share of late jobs'),
        burn('jobs', 'jobs_late'),
      ],
    },
  ],
}
