import { execFile } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { type Cleanup, lastFirst } from '../cleanup.ts'
import { deadline } from '../kit/waiting.ts'
import { keepContainer } from './keeper.ts'

/**
 * Not covered by this project's own test runs, which have no Docker engine: kept to the few commands that have not
 * changed in years.
 */
const run = promisify(execFile)

let reachable: Promise<boolean> | undefined

export function dockerIsReachable(): Promise<boolean> {
  reachable ??= run('docker', ['version'], { timeout: 5000 }).then(
    () => true,
    () => false,
  )
  return reachable
}

/** Runs an image until the test is over; resolves with the port of this machine that leads to the container's. */
export async function startContainer(
  t: Cleanup,
  container: { image: string; port: number; env?: Record<string, string>; command?: readonly string[] },
): Promise<number> {
  const { image, port, env = {}, command = [] } = container
  const variables = Object.entries(env).flatMap(([name, value]) => ['-e', `${name}=${value}`])
  const publish = ['-p', `127.0.0.1::${port}`]
  const started = await run('docker', ['run', '-d', '--rm', ...publish, ...variables, image, ...command])
  const id = started.stdout.trim()
  keepContainer(id)
  lastFirst(t).after(async () => void (await run('docker', ['rm', '-f', id])))
  const mapped = await run('docker', ['port', id, `${port}/tcp`])
  const found = /:(\d+)\s*$/m.exec(mapped.stdout)?.[1]
  if (found === undefined) throw new Error(`docker did not say where port ${port} of ${image} is`)
  return Number(found)
}

/** Resolves once `answers` is true; rejects with the image's name when the limit is over. */
export async function untilContainerAnswers(
  image: string,
  answers: () => Promise<boolean>,
  limitMs = 120_000,
): Promise<void> {
  const isOver = deadline(limitMs)
  while (!(await answers())) {
    if (isOver()) throw new Error(`the container of ${image} did not answer in time`)
    await sleep(100)
  }
}
