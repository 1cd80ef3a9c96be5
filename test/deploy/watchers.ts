import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse, stringify } from 'yaml'
import { workerSilenceMs } from '../../src/jobs/status-times.ts'
import { type Cleanup, groupOf } from '../cleanup.ts'
import { startReceiver } from '../kit/receiver.ts'
import { stretched, waitFor } from '../kit/waiting.ts'
import { serviceFolder, startService } from '../services/daemon.ts'
import { freePort } from '../services/free-port.ts'
import { deploy, ensurePrometheus, rulePaths, seldomCollecting } from './prometheus-tools.ts'

/** A real Prometheus and a real Alertmanager with the files of deploy/, in which a minute takes a second, or more on a busy machine. */

export interface Watchers {
  /** The address of Prometheus. */
  readonly url: string
  /** The seconds that so many minutes of the rules take here. */
  seconds(minutes: number): number
  /** The longest time from one scrape to the next. */
  readonly scrapeSeconds: number
  /** Of an instant query: the samples. Rejects with what Prometheus says of a query that it cannot answer. */
  query(expr: string): Promise<readonly Sample[]>
  /** The names of the alerts that fire, without those that tell nobody. */
  firing(): Promise<string[]>
  /** The names of the alerts that somebody was told of since the last call, without those that tell nobody. */
  told(): string[]
}

interface Sample {
  readonly metric: Readonly<Record<string, string>>
  readonly value: readonly [at: number, value: string]
}

/** Between two scrapes of the same target, and between two of a broker: it tells of each of its queues, hundreds here. */
const scrapeMinutes = { usual: 1, broker: 3 }

/** The targets of each job of prometheus.yml; a job without any is left out. */
export type Targets = Readonly<Record<string, readonly string[]>>

/** Resolves once every target was scraped. */
export async function startWatchers(t: Cleanup, targets: Targets): Promise<Watchers> {
  await ensurePrometheus()
  const cleanup = groupOf(t)
  const folder = serviceFolder(cleanup)
  const faster = 60 / stretched(1)
  const [prometheusPort, alertmanagerPort] = [await freePort(), await freePort()]
  const receiver = await startReceiver(cleanup)
  const own = { prometheus: [`127.0.0.1:${prometheusPort}`], alertmanager: [`127.0.0.1:${alertmanagerPort}`] }
  const rules = rulePaths.map((path, index) => {
    const file = join(folder, `rules-${index}.yml`)
    writeFileSync(file, quickened(readFileSync(path, 'utf8'), faster))
    return file
  })
  const prometheusFile = join(folder, 'prometheus.yml')
  writeFileSync(
    prometheusFile,
    stringify(prometheusConfig({ ...own, ...targets }, rules, own.alertmanager, faster)),
  )
  const alertmanagerFile = join(folder, 'alertmanager.yml')
  writeFileSync(alertmanagerFile, stringify(alertmanagerConfig(receiver.url, faster)))

  const address = (port: number) => `http://127.0.0.1:${port}`
  const isReady = (port: number) => () =>
    fetch(`${address(port)}/-/ready`).then(
      ({ ok }) => ok,
      () => false,
    )
  await startService(
    cleanup,
    {
      name: 'alertmanager',
      file: 'prometheus-alertmanager',
      args: [
        `--config.file=${alertmanagerFile}`,
        `--storage.path=${join(folder, 'alerts')}`,
        `--web.listen-address=127.0.0.1:${alertmanagerPort}`,
        '--cluster.listen-address=',
      ],
      env: seldomCollecting,
      folder,
    },
    isReady(alertmanagerPort),
  )
  await startService(
    cleanup,
    {
      name: 'prometheus',
      file: 'prometheus',
      args: [
        `--config.file=${prometheusFile}`,
        `--storage.tsdb.path=${join(folder, 'series')}`,
        `--web.listen-address=127.0.0.1:${prometheusPort}`,
      ],
      env: seldomCollecting,
      folder,
    },
    isReady(prometheusPort),
  )

  const url = address(prometheusPort)
  const query = async (expr: string) => {
    const answer = await fetch(`${url}/api/v1/query`, {
      method: 'POST',
      body: new URLSearchParams({ query: expr }),
    })
    const { status, error, data } = (await answer.json()) as {
      status: string
      error?: string
      data: { result: Sample[] }
    }
    if (status !== 'success') throw new Error(`${expr}: ${error}`)
    return data.result
  }
  await waitFor(async () => {
    const scraped = await query('up == 1')
    return scraped.length >= Object.values({ ...own, ...targets }).flat().length
  })
  let seen = 0
  return {
    url,
    seconds: (minutes) => (minutes * 60) / faster,
    scrapeSeconds: Math.ceil((scrapeMinutes.broker * 60) / faster),
    query,
    async firing() {
      const found = await query('group by (alertname) (ALERTS{alertstate="firing", severity!="none"})')
      return found.map(({ metric }) => metric.alertname ?? '').toSorted()
    },
    told() {
      const fresh = receiver.messages.slice(seen)
      seen = receiver.messages.length
      const names = fresh.flatMap(({ body }) => {
        const { alerts } = JSON.parse(body) as { alerts: Notified[] }
        const fresh = alerts.filter(({ status, labels }) => status === 'firing' && labels.severity !== 'none')
        return fresh.map(({ labels }) => labels.alertname)
      })
      return [...new Set(names)].toSorted()
    },
  }
}

interface Notified {
  readonly status: 'firing' | 'resolved'
  readonly labels: { readonly alertname: string; readonly severity: string }
}

const unitSeconds = { s: 1, m: 60, h: 3600, d: 86_400 } as const

function quickenedTime(time: string, faster: number): string {
  const [, count = '', unit = 's'] = /^(\d+)([smhd])$/.exec(time) ?? []
  const seconds = Number(count) * unitSeconds[unit as keyof typeof unitSeconds]
  return `${Math.round((seconds / faster) * 1000)}ms`
}

/**
 * A file of rules in which all times are shorter: how long a condition has to hold, windows, and numbers of seconds. How
 * long a silent worker counts is not: what follows from its silence waits that much longer, or it would be told first.
 */
function quickened(rules: string, faster: number): string {
  return rules
    .replaceAll(
      /\b(for|keep_firing_for): (\d+[smhd])$/gm,
      (_all, key: string, time: string) => `${key}: ${quickenedTime(time, faster)}`,
    )
    .replace(
      /(alert: PackshotTargetDown\n[\s\S]*?for: )(\d+)ms$/m,
      (_all, head: string, ms: string) => `${head}${Number(ms) + workerSilenceMs}ms`,
    )
    .replaceAll(/\[(\d+[smhd])\]/g, (_all, time: string) => `[${quickenedTime(time, faster)}]`)
    .replaceAll(/^( +interval: )\S+$/gm, `$1${quickenedTime('1m', faster)}`)
    .replaceAll(/\b(300|600|3600|21600|86400|259200)\b/g, (seconds) => String(Number(seconds) / faster))
}

interface ScrapeConfig {
  job_name: string
  static_configs?: { targets: readonly string[] }[]
  dns_sd_configs?: unknown
}

function prometheusConfig(
  targets: Targets,
  rules: readonly string[],
  alertmanager: readonly string[],
  faster: number,
) {
  const every = (minutes: number) => quickenedTime(`${minutes}m`, faster)
  const usual = every(scrapeMinutes.usual)
  const shipped = parse(readFileSync(deploy('prometheus/prometheus.yml'), 'utf8')) as {
    scrape_configs: ScrapeConfig[]
  }
  return {
    ...shipped,
    global: { scrape_interval: usual, scrape_timeout: usual, evaluation_interval: usual },
    rule_files: rules,
    alerting: { alertmanagers: [{ static_configs: [{ targets: alertmanager }] }] },
    scrape_configs: shipped.scrape_configs.flatMap(({ dns_sd_configs: _names, ...scrape }) => {
      const own = targets[scrape.job_name] ?? []
      const seldom = scrape.job_name.startsWith('rabbitmq') && {
        scrape_interval: every(scrapeMinutes.broker),
      }
      return own.length === 0 ? [] : [{ ...scrape, ...seldom, static_configs: [{ targets: own }] }]
    }),
  }
}

/** That of deploy/, but each receiver is the test. */
function alertmanagerConfig(url: string, faster: number) {
  const shipped = parse(
    readFileSync(deploy('alertmanager/alertmanager.yml'), 'utf8'),
    (key: unknown, value: unknown) =>
      /^(group_wait|group_interval)$/.test(String(key)) && value !== '0s'
        ? quickenedTime(String(value), faster)
        : value,
  ) as { receivers: { name: string }[] }
  return {
    ...shipped,
    global: { resolve_timeout: '5s' },
    receivers: shipped.receivers.map(({ name }) => ({ name, webhook_configs: [{ url }] })),
  }
}
