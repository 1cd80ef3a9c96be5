/** Synthetic series for the unit tests of the alert rules, in promtool's notation. */

/** Values by series; a series of the same text replaces that of the healthy installation. */
export type SeriesSet = Readonly<Record<string, string>>

export interface RuleCase {
  /** What happens, in words. */
  readonly what: string
  /** The alert that it is about. */
  readonly alert: string
  readonly fires: boolean
  /** Others that fire as well: Alertmanager keeps them back, or they say what this neighbour is about. */
  readonly also: readonly string[]
  /** How many values each series has, and the minutes from one to the next. */
  readonly values: number
  readonly minutesOfValue: number
  readonly series: SeriesSet
}

const s1 = 'role="server", instance="s1"'
const s2 = 'role="server", instance="s2"'
const w1 = 'role="worker", instance="w1"'
const http = (code: string) =>
  `packshot_http_request_duration_seconds_count{route="/v1/jobs", method="POST", code="${code}", ${s1}}`
const refused = `packshot_requests_refused_total{code="queue_full", ${s1}}`
const accepted = `packshot_jobs_accepted_total{class="interactive", ${s1}}`
const finished = (status: string, code = 'none') =>
  `packshot_jobs_finished_total{class="interactive", status="${status}", code="${code}", ${w1}}`
const ended = `packshot_job_duration_seconds_count{class="interactive", ${w1}}`
const inTime = (bound = '60') =>
  `packshot_job_duration_seconds_bucket{class="interactive", le="${bound}", ${w1}}`
const queued = (priority: string, of = s1) => `packshot_queue_jobs{class="${priority}", ${of}}`
const oldest = (priority: string) => `packshot_queue_oldest_seconds{class="${priority}", ${s1}}`
const consumers = (of = s1) => `packshot_queue_consumers{${of}}`
const up = (name: string, of: string) => `packshot_dependency_up{name="${name}", ${of}}`
const calls = (of: string, outcome: string) =>
  `packshot_${of}_request_duration_seconds_count{op="get", outcome="${outcome}", ${s1}}`
const webhooks = (outcome: string) => `packshot_webhook_deliveries_total{outcome="${outcome}", ${s1}}`
const scraped = (job: string, instance: string) => `up{job="${job}", instance="${instance}"}`
const build = (version: string, of: string) => `packshot_build_info{version="${version}", ${of}}`
const proxied = (code: string) => `traefik_service_requests_total{code="${code}", service="packshot@docker"}`
const broker = (name: string) => `rabbitmq_${name}{instance="rabbitmq"}`
const events = 'rabbitmq_detailed_queue_messages{queue="packshot.events.status.v1"}'
const starts = `process_start_time_seconds{${s1}}`
const progress = `packshot_worker_last_progress_timestamp_seconds{${w1}}`
const lag = `nodejs_eventloop_lag_p99_seconds{${s1}}`
const disk = `packshot_disk_free_bytes{${s1}}`
const certificate = 'traefik_tls_certs_not_after{cn="studio.example.com"}'

/** Sixty requests and six jobs from one value to the next. */
export function healthy(values: number, minutesOfValue: number): SeriesSet {
  const always = (value: number | string) => `${value}x${values}`
  const every = (count: number) => `0+${count}x${values}`
  return {
    [scraped('packshot-server', 's1')]: always(1),
    [scraped('packshot-worker', 'w1')]: always(1),
    [scraped('rabbitmq', 'rabbitmq')]: always(1),
    [build('1.0.0', s1)]: always(1),
    [build('1.0.0', w1)]: always(1),
    [http('202')]: every(60),
    [refused]: always(0),
    [accepted]: every(6),
    [finished('succeeded')]: every(6),
    [finished('failed', 'internal')]: always(0),
    [finished('failed', 'too_large')]: always(0),
    [finished('canceled')]: always(0),
    [ended]: every(6),
    [inTime()]: every(6),
    [queued('interactive')]: always(2),
    [queued('batch')]: always(0),
    [oldest('interactive')]: always(5),
    [oldest('batch')]: always(0),
    [consumers()]: always(2),
    [`packshot_dead_letters_total{${s1}}`]: always(0),
    [`packshot_worker_busy{${w1}}`]: always(1),
    [progress]: every(60 * minutesOfValue),
    [`packshot_worker_restarts_total{${w1}}`]: always(0),
    [starts]: always(0),
    [lag]: always(0.01),
    [webhooks('delivered')]: every(6),
    [`packshot_webhooks_waiting{${s1}}`]: always(0),
    [calls('storage', 'ok')]: every(60),
    [calls('status', 'ok')]: every(600),
    ...Object.fromEntries(
      ['queue', 'status', 'storage'].flatMap((name) => [s1, w1].map((of) => [up(name, of), always(1)])),
    ),
    [disk]: always('50000000000'),
    [broker('alarms_memory_used_watermark')]: always(0),
    [broker('alarms_free_disk_space_watermark')]: always(0),
    [broker('disk_space_available_bytes')]: always('50000000000'),
    [broker('disk_space_available_limit_bytes')]: always('50000000'),
    [broker('global_messages_unroutable_dropped_total')]: always(0),
    [broker('global_messages_unroutable_returned_total')]: always(0),
    [events]: always(3),
    [proxied('202')]: every(60),
    [certificate]: always(90 * 86_400),
    'alertmanager_notifications_failed_total{job="alertmanager", integration="email"}': always(0),
  }
}

type Row = readonly [
  values: number,
  what: string,
  series: SeriesSet,
  expected?: Partial<Pick<RuleCase, 'fires' | 'also'>>,
]

const fires = { fires: true }
const answersSlowly = { fires: true, also: ['PackshotAnswersFailingSlowly'] }
const jobsSlowly = { fires: true, also: ['PackshotJobsLateSlowly'] }

const threeDays = (3 * 24 * 60) / 10

const ofDays = pairs(10, {
  PackshotAnswersFailingSlowly: [
    [threeDays, '0.5 % of the answers fail for three days', { [http('500')]: `0+0.3x${threeDays}` }],
    [threeDays, '0.05 % do', { [http('202')]: `0+600x${threeDays}`, [http('500')]: `0+0.3x${threeDays}` }],
    [
      threeDays,
      'ten requests of three quiet days fail',
      { [http('202')]: `0+1x${threeDays}`, [http('500')]: `0+0.025x${threeDays}` },
    ],
  ],
  PackshotJobsLateSlowly: [
    [threeDays, '8 % are late for three days', { [inTime()]: `0+5.5x${threeDays}` }],
    [threeDays, '3 % are', { [inTime()]: `0+5.82x${threeDays}` }],
  ],
})

const ofMinutes = pairs(1, {
  PackshotAnswersFailing: [
    [90, '5 % of the answers are 500 for an hour', { [http('500')]: '0x30 0+3x60' }, answersSlowly],
    [
      90,
      'the queue is full: 503 by admission',
      { [http('503')]: '0x30 0+30x60', [refused]: '0x30 0+30x60' },
      { fires: false, also: ['PackshotRefusing'] },
    ],
    [90, 'calls were held until their time was over', { [http('504')]: '0+6x90' }],
    [90, 'one request of a quiet hour fails', { [http('202')]: '0+0.1x90', [http('500')]: '0x80 1x10' }],
    [
      150,
      'it was an hour ago',
      { [http('500')]: '0+60x30 1800x120' },
      { fires: false, also: ['PackshotAnswersFailingSlowly'] },
    ],
    [600, '1 % fail for six hours', { [http('500')]: '0+0.7x600' }, answersSlowly],
  ],
  PackshotJobsLate: [
    [90, 'nearly all jobs are late', { [inTime()]: '0+1x90' }, jobsSlowly],
    [90, 'one of five is', { [inTime()]: '0+4.8x90' }, { fires: false, also: ['PackshotJobsLateSlowly'] }],
    [90, 'all in time, as Prometheus 3 writes it', { [inTime()]: '_x90', [inTime('60.0')]: '0+6x90' }],
    [90, 'late, as Prometheus 3 writes it', { [inTime()]: '_x90', [inTime('60.0')]: '0+1x90' }, jobsSlowly],
    [90, 'the only three jobs of an hour are late', { [ended]: '0+0.05x90', [inTime()]: '0x90' }],
  ],
  PackshotQueueWithoutWorkers: [
    [11, 'two jobs wait, and no worker is there', { [consumers()]: '0x11' }],
    [9, 'a worker is being started', { [consumers()]: '0x9' }],
    [30, 'nothing waits: scaled to zero', { [consumers()]: '0x30', [queued('interactive')]: '0x30' }],
    [30, 'one server has not heard of the workers', { [consumers(s2)]: '0x30' }],
  ],
  PackshotNothingFinishes: [
    [65, 'jobs wait, workers are there, nothing ends', { [finished('succeeded')]: '0+6x25 150x40' }],
    [50, 'for twenty minutes', { [finished('succeeded')]: '0+6x30 180x20' }],
    [65, 'a job ends now and then', { [finished('succeeded')]: '0+0.1x65' }],
    [65, 'nothing is there to do', { [finished('succeeded')]: '5x65', [queued('interactive')]: '0x65' }],
  ],
  PackshotJobsFailing: [
    [30, 'every second job fails', { [finished('failed', 'internal')]: '0+6x30' }],
    [30, 'every second job is too large', { [finished('failed', 'too_large')]: '0+6x30' }],
    [30, 'one of fifty fails', { [finished('failed', 'internal')]: '0+0.12x30' }],
    [
      30,
      'the only job of a quiet hour fails',
      { [finished('succeeded')]: '0x30', [finished('failed', 'internal')]: '0x15 1x15' },
    ],
  ],
  PackshotWaitIsLong: [
    [20, 'the oldest waits for six minutes', { [oldest('interactive')]: '360x20' }],
    [20, 'a batch job waits for an hour', { [oldest('batch')]: '3600x20' }],
    [20, 'a batch job waits for seven hours', { [oldest('batch')]: '25200x20' }, fires],
  ],
  PackshotRefusing: [
    [30, 'as many are refused as accepted', { [refused]: '0+6x30' }],
    [30, 'a twentieth is refused', { [refused]: '0+0.3x30' }],
    [30, 'the three of a quiet time are', { [refused]: '0x20 3x10', [accepted]: '0x30' }],
  ],
  PackshotDeadLetters: [
    [30, 'a message was given up', { [`packshot_dead_letters_total{${s1}}`]: '0x10 1x20' }],
    [120, 'it was hours ago', { [`packshot_dead_letters_total{${s1}}`]: '0x10 1x110' }],
  ],
  PackshotWorkerStuck: [
    [30, 'no step for half an hour, with a job', { [progress]: '0x30' }],
    [30, 'no job for half an hour', { [progress]: '0x30', [`packshot_worker_busy{${w1}}`]: '0x30' }],
    [30, 'a step takes eight minutes', { [progress]: '0x22 1320x8' }],
  ],
  PackshotWorkerRestarts: [
    [60, 'five deaths in an hour', { [`packshot_worker_restarts_total{${w1}}`]: '0x10 1 2 3 4 5x45' }],
    [60, 'two deaths', { [`packshot_worker_restarts_total{${w1}}`]: '0x10 1 2x48' }],
    [60, 'a server that is started again and again', { [starts]: '0x10 600 660 720 780 840x45' }, fires],
    [60, 'an upgrade', { [starts]: '0x10 600x49' }],
  ],
  PackshotEventLoopSlow: [
    [15, 'a server stands still for a second at a time', { [lag]: '1x15' }],
    [15, 'it did once', { [lag]: '0.01x8 2 0.01x6' }],
  ],
  PackshotVersionsDiffer: [
    [70, 'a worker was forgotten', { [build('0.9.0', w1)]: '1x70', [build('1.0.0', w1)]: '_x70' }],
    [40, 'an upgrade is on its way', { [build('0.9.0', w1)]: '1x40', [build('1.0.0', w1)]: '_x40' }],
  ],
  PackshotWebhooksFailing: [
    [50, 'nobody takes them', { [webhooks('delivered')]: '0x50', [webhooks('retried')]: '0+6x50' }],
    [50, 'a receiver is dead, others take theirs', { [webhooks('retried')]: '0+2x50' }],
    [
      50,
      'the only receiver is dead, with few',
      { [webhooks('delivered')]: '0x50', [webhooks('retried')]: '0+0.2x50' },
    ],
  ],
  PackshotWebhooksPileUp: [
    [20, 'two thousand wait', { [`packshot_webhooks_waiting{${s1}}`]: '2000x20' }],
    [20, 'a catalogue has just ended', { [`packshot_webhooks_waiting{${s1}}`]: '0x10 2000 900x9' }],
  ],
  PackshotServersDown: [
    [20, 'no server can be scraped', { [build('1.0.0', s1)]: '1x10 stale' }],
    [
      20,
      'one of two is gone',
      { [build('1.0.0', s1)]: '1x10 stale', [build('1.0.0', s2)]: '1x20', [starts]: '0x20' },
    ],
  ],
  PackshotDependencyDown: [
    [12, 'nobody reaches the broker', { [up('queue', s1)]: '1x10 0x2', [up('queue', w1)]: '1x10 0x2' }],
    [12, 'nobody reaches the storage', { [up('storage', s1)]: '0x12', [up('storage', w1)]: '0x12' }, fires],
    [3, 'a server does not', { [up('queue', s1)]: '0x3' }],
    [12, 'it was away for a moment', { [up('queue', s1)]: '1x9 0 1x2', [up('queue', w1)]: '1x9 0 1x2' }],
  ],
  PackshotStatusStoreDown: [
    [12, 'nobody reaches Redis', { [up('status', s1)]: '0x12', [up('status', w1)]: '0x12' }],
    [3, 'a worker does not', { [up('status', w1)]: '0x3' }],
  ],
  PackshotDependencyPartlyDown: [
    [12, 'a worker does not reach the storage', { [up('storage', w1)]: '0x12' }],
    [12, 'it did not for a moment', { [up('storage', w1)]: '1x5 0x3 1x4' }],
  ],
  PackshotStorageErrors: [
    [20, 'a tenth of the requests fails', { [calls('storage', 'error')]: '0+6x20' }],
    [20, 'a hundredth does', { [calls('storage', 'error')]: '0+0.6x20' }],
    [
      20,
      'one of the three of a quiet time does',
      { [calls('storage', 'ok')]: '0+0.2x20', [calls('storage', 'error')]: '0x10 1x10' },
    ],
  ],
  PackshotStatusErrors: [
    [20, 'a tenth of the requests fails', { [calls('status', 'error')]: '0+60x20' }],
    [20, 'a hundredth does', { [calls('status', 'error')]: '0+6x20' }],
  ],
  PackshotDiskFull: [
    [5, '200 MB are free', { [disk]: '200000000x5' }],
    [5, '3 GB are', { [disk]: '3000000000x5' }],
  ],
  PackshotDiskFills: [
    [70, '1 GB is free', { [disk]: '1000000000x70' }],
    [450, 'it fills within a day', { [disk]: '60000000000-50000000x450' }, fires],
    [450, 'it fills within a week', { [disk]: '60000000000-5000000x450' }],
  ],
  PackshotBrokerAlarm: [
    [2, 'it is short of memory', { [broker('alarms_memory_used_watermark')]: '1x2' }],
    [2, 'it is short of disk', { [broker('alarms_free_disk_space_watermark')]: '1x2' }, fires],
    [9, 'it was', { [broker('alarms_memory_used_watermark')]: '1x2 0x7' }],
  ],
  PackshotBrokerDiskFills: [
    [
      450,
      'its disk fills within a day',
      { [broker('disk_space_available_bytes')]: '60000000000-50000000x450' },
    ],
    [450, 'within a week', { [broker('disk_space_available_bytes')]: '60000000000-5000000x450' }],
  ],
  PackshotUnroutable: [
    [20, 'a queue is gone', { [broker('global_messages_unroutable_returned_total')]: '0x5 0+1x15' }],
    [40, 'it is back', { [broker('global_messages_unroutable_returned_total')]: '0x5 1x35' }],
  ],
  PackshotEventsPileUp: [
    [15, 'nobody takes events', { [events]: '5000x15' }],
    [15, 'a catalogue has just ended', { [events]: '0x9 5000 200x5' }],
  ],
  PackshotTargetDown: [
    [35, 'a worker cannot be scraped', { [scraped('packshot-worker', 'w1')]: '1x2 0x33' }],
    [45, 'the broker is no longer in DNS', { [scraped('rabbitmq', 'rabbitmq')]: '1x10 stale' }, fires],
    [45, 'workers were scaled to zero', { [scraped('packshot-worker', 'w1')]: '1x10 stale' }],
    [20, 'it is started again', { [scraped('packshot-worker', 'w1')]: '1x5 0x10 1x5' }],
  ],
  PackshotProxyErrors: [
    [15, 'a tenth of the requests finds no server', { [proxied('502')]: '0+6x15' }],
    [
      15,
      'a full queue: the 503 are ours',
      { [proxied('503')]: '0+6x15', [http('503')]: '0+6x15', [refused]: '0+6x15', [accepted]: '0+90x15' },
    ],
    [15, 'a hundredth does', { [proxied('502')]: '0+0.6x15' }],
  ],
  PackshotCertificateExpires: [
    [70, 'it ends in ten days', { [certificate]: `${10 * 86_400}x70` }],
    [70, 'it ends in twenty', { [certificate]: `${20 * 86_400}x70` }],
  ],
  PackshotAlarmsBroken: [
    [
      15,
      'mail is refused',
      { 'alertmanager_notifications_failed_total{job="alertmanager", integration="email"}': '0x5 0+1x10' },
    ],
    [
      40,
      'it was once',
      { 'alertmanager_notifications_failed_total{job="alertmanager", integration="email"}': '0x5 1x35' },
    ],
  ],
})

/** For each alert a case in which it fires and one beside it in which it does not. */
export const ruleCases: readonly RuleCase[] = [...ofDays, ...ofMinutes]

/** The first row of an alert fires, others only if they say so. */
function pairs(minutesOfValue: number, table: Readonly<Record<string, readonly Row[]>>): RuleCase[] {
  return Object.entries(table).flatMap(([alert, rows]) =>
    rows.map(([values, what, series, expected], index) => ({
      alert,
      what,
      values,
      minutesOfValue,
      series,
      fires: index === 0,
      also: [],
      ...expected,
    })),
  )
}
