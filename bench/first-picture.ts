import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'

/**
 * How long a user waits on the first start of Packshot: from `npm start` to the address, and then to the first and the
 * second picture, polled as the API advises (`poll_after_ms`).
 *
 *   node bench/first-picture.ts (part of `npm run bench`)
 */

interface Job {
  readonly status: string
  readonly poll_after_ms: number
  readonly links: { readonly self: string }
}

const folder = await mkdtemp(join(tmpdir(), 'packshot-bench-'))
const began = performance.now()
const seconds = (since: number) => `${((performance.now() - since) / 1000).toFixed(2)} s`
const npm = spawn('npm', ['start', '--silent'], {
  cwd: join(import.meta.dirname, '..'),
  // its own process group: npm does not pass signals on to its children
  detached: true,
  stdio: ['ignore', 'pipe', 'inherit'],
  env: { ...process.env, PORT: '0', PACKSHOT_DATA_DIR: folder, PACKSHOT_LOG_LEVEL: 'silent' },
})
try {
  const address = await printedAddress()
  console.log(`npm start to the printed address  ${seconds(began)}`)
  await picture(address)
  console.log(`npm start to the first picture    ${seconds(began)}`)
  const second = performance.now()
  const polls = await picture(address)
  console.log(`the next picture                  ${seconds(second)}, ${polls} status requests`)
} finally {
  process.kill(-(npm.pid as number), 'SIGTERM')
  await new Promise((resolve) => npm.once('close', resolve))
  await rm(folder, { recursive: true })
}

async function printedAddress(): Promise<string> {
  for await (const line of createInterface({ input: npm.stdout })) {
    const address = /http:\/\/\S+/.exec(line)?.[0]
    if (address) return address
  }
  throw new Error('npm start ended without printing an address')
}

/** Requests a picture and waits for it. @returns the number of status requests */
async function picture(address: string): Promise<number> {
  const response = await fetch(new URL('/v1/jobs', address), {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ prompt: 'a red apple' }),
  })
  let job = (await response.json()) as Job
  for (let polls = 1; ; polls++) {
    await sleep(job.poll_after_ms)
    job = (await (await fetch(new URL(job.links.self, address))).json()) as Job
    if (job.status === 'succeeded') return polls
    if (job.status === 'failed') throw new Error(JSON.stringify(job))
  }
}
