import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'

/** Packshot as its users start it. */
export interface Started extends AsyncDisposable {
  /** Resolves when it is printed. */
  readonly address: Promise<string>
}

export interface Job {
  readonly status: string
  readonly created_at: string
  readonly finished_at?: string
  readonly poll_after_ms: number
  readonly links: { readonly self: string }
}

/** `npm start` on a free port. */
export function npmStart(env: Readonly<Record<string, string>>): Started {
  const npm = spawn('npm', ['start', '--silent'], {
    cwd: join(import.meta.dirname, '..'),
    // its own process group: npm does not pass signals on to its children
    detached: true,
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, PORT: '0', PACKSHOT_LOG_LEVEL: 'silent', ...env },
  })
  const printed = async () => {
    for await (const line of createInterface({ input: npm.stdout })) {
      const address = /http:\/\/\S+/.exec(line)?.[0]
      if (address) return address
    }
    throw new Error('npm start ended without printing an address')
  }
  return {
    address: printed(),
    async [Symbol.asyncDispose]() {
      process.kill(-(npm.pid as number), 'SIGTERM')
      if (npm.exitCode === null) await once(npm, 'close')
    },
  }
}

/** Requests a picture and waits for it, polling as the API advises. */
export async function makePicture(
  address: string,
  body: Readonly<Record<string, unknown>>,
): Promise<{ readonly job: Job; readonly polls: number }> {
  const response = await fetch(new URL('/v1/jobs', address), {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  let job = (await response.json()) as Job
  if (response.status !== 202) throw new Error(JSON.stringify(job))
  for (let polls = 1; ; polls++) {
    await sleep(job.poll_after_ms)
    job = (await (await fetch(new URL(job.links.self, address))).json()) as Job
    if (job.status === 'succeeded') return { job, polls }
    if (job.status === 'failed') throw new Error(JSON.stringify(job))
  }
}
