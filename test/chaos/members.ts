import { setTimeout as sleep } from 'node:timers/promises'
import { type Cleanup, lastFirst } from '../cleanup.ts'
import { metricsOf } from '../kit/exposition.ts'
import { inTime, waitFor } from '../kit/waiting.ts'
import type { ServerProcess } from '../service/server-process.ts'
import { isAlive } from '../service/server-process.ts'

/** A place in the fleet: a process that is started again whenever it ends, as an orchestrator would do it. */
export interface Member {
  readonly name: string
  /** Its address; undefined during startup, and once it has been asked to stop. */
  address(): string | undefined
  /** SIGKILL. */
  kill(): void
  /** SIGTERM, once for each process. */
  terminate(): void
  /** The worker's own process, which its supervisor watches; undefined while there is none. */
  child(): number | undefined
  pid(): number | undefined
  /** Resolves once the present process, or its successor, is ready; rejects when that takes absurdly long. */
  ready(): Promise<void>
  /** Ends it by SIGTERM for good. */
  stop(): Promise<void>
  /** Where the present process tells its metrics, once it has said so. */
  metrics(): string | undefined
  /** Everything that any of its processes printed. */
  outputs(): readonly string[]
  /** Of all processes that it ever had and whose ids are known. */
  pids(): readonly number[]
}

const restartPauseMs = 200
const longestStopMs = 90_000
const longestStartMs = 180_000

/**
 * `start` gets the number of the start, from 0. `fault` is called when a process ends without being told to, or not in
 * the way it was told to; with `mayDie` it may have killed itself.
 */
export function keepMember(
  t: Cleanup,
  name: string,
  start: (number: number) => ServerProcess,
  mayDie: (number: number) => boolean,
  fault: (text: string) => void,
): Member {
  const all: ServerProcess[] = []
  let current: ServerProcess
  let address: string | undefined
  let told: Set<NodeJS.Signals>
  let stopping = false
  let ended: Promise<void> = Promise.resolve()

  const launch = () => {
    const number = all.length
    const process = start(number)
    const signals = new Set<NodeJS.Signals>()
    current = process
    told = signals
    all.push(process)
    process.address.then(
      (ready) => {
        if (signals.size === 0) address = ready
      },
      () => {},
    )
    ended = process.ended.then(async (status) => {
      address = undefined
      const fine = typeof status === 'string' ? signals.has(status as NodeJS.Signals) : status === 0
      if ((signals.size === 0 || !fine) && !(status === 'SIGKILL' && mayDie(number))) {
        fault(`${name} ended with ${status}, told ${[...signals].join()}: ${process.output().slice(-600)}`)
      }
      if (stopping) return
      await sleep(restartPauseMs)
      if (!stopping) launch()
    })
  }
  const tell = (signal: 'SIGKILL' | 'SIGTERM') => {
    if (told.has(signal)) return
    told.add(signal)
    address = undefined
    current.process.kill(signal)
  }
  launch()
  // a frozen process outlives its supervisor
  lastFirst(t).after(() => {
    stopping = true
    for (const pid of pidsOf(all).filter(isAlive)) process.kill(pid, 'SIGKILL')
  })
  return {
    name,
    address: () => address,
    kill: () => tell('SIGKILL'),
    terminate: () => tell('SIGTERM'),
    child: () => current.workers().at(-1),
    pid: () => current.process.pid,
    async ready() {
      // the present one may be on its way out
      await waitFor(() => address !== undefined, longestStartMs).catch((cause: unknown) => {
        throw new Error(`${name} is not ready: ${current.output().slice(-2000)}`, { cause })
      })
    },
    async stop() {
      stopping = true
      tell('SIGTERM')
      const hasEnded = await inTime(
        ended.then(() => true),
        longestStopMs,
      )
      if (!hasEnded) fault(`${name} did not end in time: ${current.output().slice(-600)}`)
    },
    metrics: () => metricsOf(current.output()),
    outputs: () => all.map(({ output }) => output()),
    pids: () => pidsOf(all),
  }
}

function pidsOf(all: readonly ServerProcess[]): number[] {
  return all.flatMap(({ process, workers }) => [
    ...workers(),
    ...(process.pid === undefined ? [] : [process.pid]),
  ])
}
