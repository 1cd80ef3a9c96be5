import { request } from 'node:https'
import { setTimeout as sleep } from 'node:timers/promises'
import type { JobView } from '../../src/jobs/serving/job-view.ts'
import { type Cleanup, lastFirst } from '../cleanup.ts'
import { waitFor } from '../kit/waiting.ts'
import { type Front, proxyName } from './proxies.ts'
import { type Visitor, visitor } from './visitor.ts'

/** Visitors that come through each proxy without a pause, and what went wrong for them. */
export interface ProxyLoad {
  /** Resolves when each kind of visitor of each proxy has had so many answers more. */
  untilAnswered(count: number): Promise<void>
  /** Resolves when all jobs are final. */
  stop(): Promise<{ readonly failures: readonly string[]; readonly counts: Readonly<Record<string, number>> }>
}

const job = { prompt: 'a red apple', steps: 1 }
const longerJob = { prompt: 'a red apple 50ms', steps: 2 }
/** Workers must keep up with what is accepted. */
const jobPauseMs = 300
const readPauseMs = 100
const headers = { prefer: 'wait=2' }

export function startProxyLoad(t: Cleanup, proxies: readonly Front[]): ProxyLoad {
  const failures: string[] = []
  const counts: Record<string, number> = {}
  const accepted: { readonly browser: Visitor; readonly id: string }[] = []
  let going = true

  const check = (what: string, status: number, expected: number, body: Buffer | string) => {
    counts[what] = (counts[what] ?? 0) + 1
    if (status !== expected) failures.push(`${what} was answered ${status}: ${body.toString().slice(0, 200)}`)
  }
  async function repeat(what: string, pauseMs: number, action: (what: string) => Promise<void>) {
    counts[what] = 0
    while (going) {
      await action(what).catch((thrown: unknown) => failures.push(`${what}: ${thrown}`))
      if (failures.length > 20) return
      await sleep(pauseMs)
    }
  }

  const running = proxies.flatMap((proxy) => {
    const browser = visitor(proxy, '127.0.0.3')
    lastFirst(t).after(() => browser.close())
    const submit = async (what: string) => {
      const answer = await browser.ask('POST', '/v1/jobs', { body: job })
      check(what, answer.status, 202, answer.body)
      if (answer.status === 202) accepted.push({ browser, id: answer.json<JobView>().id })
    }
    return [
      repeat(`${proxy.name}: POST of a job`, jobPauseMs, submit),
      repeat(`${proxy.name}: POST on a new connection`, jobPauseMs, async (what) => {
        const { status, text } = await postOnNewConnection(proxy, job)
        check(what, status, 202, text)
        if (status === 202) accepted.push({ browser, id: (JSON.parse(text) as JobView).id })
      }),
      repeat(`${proxy.name}: the page`, readPauseMs, async (what) => {
        const answer = await browser.ask('GET', '/')
        check(what, answer.status, 200, answer.body)
      }),
      repeat(`${proxy.name}: a poll`, readPauseMs, async (what) => {
        const job = accepted.at(-1)
        if (job === undefined) return
        const answer = await browser.ask('GET', `/v1/jobs/${job.id}`)
        check(what, answer.status, 200, answer.body)
      }),
      repeat(`${proxy.name}: a held call`, jobPauseMs, async (what) => {
        const answer = await browser.ask('POST', '/v1/jobs', { body: longerJob, headers })
        // 200 when it is final, 202 when the wait ends earlier
        check(what, answer.status === 200 ? 202 : answer.status, 202, answer.body)
        if (answer.status < 300) accepted.push({ browser, id: answer.json<JobView>().id })
      }),
    ]
  })
  const following = followAll(t, proxies, failures)

  return {
    async untilAnswered(count) {
      const goals = Object.fromEntries(Object.entries(counts).map(([what, now]) => [what, now + count]))
      const isReached = () => Object.entries(goals).every(([what, goal]) => (counts[what] ?? 0) >= goal)
      await waitFor(() => failures.length > 0 || isReached())
    },
    async stop() {
      going = false
      await Promise.all([...running, following])
      for (const { browser, id } of accepted) {
        for (let job: JobView | undefined; job?.status !== 'succeeded'; ) {
          if (job !== undefined) await sleep(50)
          const answer = await browser.ask('GET', `/v1/jobs/${id}`)
          job = answer.json<JobView>()
          if (answer.status === 200 && ['queued', 'running', 'succeeded'].includes(job.status)) continue
          failures.push(`job ${id}: ${answer.status} ${answer.body}`)
          break
        }
      }
      return { failures, counts: { ...counts, jobs: accepted.length } }
    },
  }
}

/** Through each proxy a job that waits for the gate; as a browser does, again when a server ends its streams. */
async function followAll(t: Cleanup, proxies: readonly Front[], failures: string[]): Promise<void> {
  const browsers = proxies.map((proxy) => visitor(proxy, '127.0.0.4'))
  lastFirst(t).after(() => {
    for (const browser of browsers) browser.close()
  })
  const posted = await browsers[0]?.ask('POST', '/v1/jobs', { body: { prompt: 'gate' } })
  const id = posted?.json<JobView>().id
  const follow = async (browser: Visitor) => {
    for (;;) {
      const stream = await browser.follow(`/v1/jobs/${id}/events`)
      if (stream.status !== 200) return void failures.push(`a stream was answered ${stream.status}`)
      await waitFor(() => stream.isEnded())
      if (stream.text().includes('event: done')) return
    }
  }
  await Promise.all(browsers.map(follow)).catch((thrown: unknown) => failures.push(`a stream: ${thrown}`))
}

/** HTTP/1.1, closed after the answer. */
export function postOnNewConnection(proxy: Front, body: object): Promise<{ status: number; text: string }> {
  const sent = JSON.stringify(body)
  const host = `${proxyName}:${proxy.httpsPort}`
  return new Promise((resolve, reject) => {
    const options = {
      host: '127.0.0.1',
      port: proxy.httpsPort,
      path: '/v1/jobs',
      method: 'POST',
      agent: false,
      ca: proxy.authority,
      servername: proxyName,
      localAddress: '127.0.0.5',
      headers: { host, 'content-type': 'application/json', 'content-length': sent.length },
    } as const
    const asked = request(options, (answer) => {
      let text = ''
      answer.setEncoding('utf8').on('data', (part) => {
        text += part
      })
      answer.once('end', () => resolve({ status: answer.statusCode ?? 0, text }))
      answer.once('error', reject)
    })
    asked.once('error', reject).end(sent)
  })
}
