import { setTimeout as sleep } from 'node:timers/promises'
import type { FaultProxy } from '../fault-kit/proxy.ts'
import type { Fleet } from '../fleet/fleet.ts'
import { isAlive } from '../service/server-process.ts'
import type { ServiceControl } from '../services/daemon.ts'
import type { RedisService } from '../services/redis.ts'
import type { Member } from './members.ts'
import type { FaultKind, PlannedFault } from './schedule.ts'

/** What faults can happen to. */
export interface Stage {
  readonly fleet: Fleet
  readonly servers: readonly Member[]
  readonly workers: readonly Member[]
  readonly broker: ServiceControl
  readonly redis: RedisService
  readonly storage: ServiceControl
}

export interface Faults {
  /** Resolves when the fault has ended by itself. Faults may overlap. */
  inject(fault: PlannedFault): Promise<void>
  /** Ends all faults: the connections pass, the services run. */
  heal(): Promise<void>
}

const slowDown = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code></Error>'
const busyAnswer = `HTTP/1.1 503 Slow Down\r\ncontent-type: application/xml\r\ncontent-length: ${slowDown.length}\r\nconnection: close\r\n\r\n${slowDown}`

export function faultsOn(stage: Stage): Faults {
  const { fleet, servers, workers, broker, redis, storage } = stage
  const on = { broker: oneAtATime(), redis: oneAtATime(), storage: oneAtATime() }
  const brokerLink = overlapping(fleet.broker)
  const redisLink = overlapping(fleet.redis)
  const storageLink = overlapping(fleet.storage)

  const actions: Record<FaultKind, (fault: PlannedFault) => void | Promise<void>> = {
    'kill worker process': (fault) => signal(pick(workers, fault).child(), 'SIGKILL'),
    'kill worker supervisor': (fault) => end(workers, fault, 'kill'),
    'terminate worker': (fault) => end(workers, fault, 'terminate'),
    'freeze worker': (fault) => freeze(pick(workers, fault).child(), fault.ms),
    'kill server': (fault) => end(servers, fault, 'kill'),
    'terminate server': (fault) => end(servers, fault, 'terminate'),
    'freeze server': (fault) => freeze(pick(servers, fault).pid(), fault.ms),
    'cut broker': () => fleet.broker.cut(),
    'black hole broker': ({ ms }) => brokerLink(ms, (proxy) => proxy.blackHole()),
    'slow broker': ({ ms }) => brokerLink(ms, (proxy) => proxy.delay(300)),
    'thin broker': ({ ms }) => brokerLink(ms, (proxy) => proxy.throttle(3000)),
    'kill broker': ({ ms }) => on.broker(() => killAndStart(broker, ms)),
    'restart broker': () => on.broker(() => broker.restart()),
    'cut redis': () => fleet.redis.cut(),
    'kill redis': ({ ms }) => on.redis(() => killAndStart(redis, ms)),
    'flush redis': () => on.redis(async () => void (await redis.cli('FLUSHALL'))),
    'black hole redis': ({ ms }) => redisLink(ms, (proxy) => proxy.blackHole()),
    'cut storage': () => fleet.storage.cut(),
    'cut upload': () => fleet.storage.cutAfter(500),
    'storage busy': ({ ms }) =>
      storageLink(ms, (proxy) => {
        proxy.respond(busyAnswer)
        // connections that are open would be answered as before
        proxy.cut()
      }),
    'kill storage': ({ ms }) => on.storage(() => killAndStart(storage, ms)),
    'black hole storage': ({ ms }) => storageLink(ms, (proxy) => proxy.blackHole()),
    'cut network': () => {
      for (const proxy of [fleet.broker, fleet.redis, fleet.storage]) proxy.cut()
    },
  }
  return {
    async inject(fault) {
      await actions[fault.kind](fault)
    },
    async heal() {
      await Promise.all([fleet.broker.pass(), fleet.redis.pass(), fleet.storage.pass()])
      await Promise.all(
        [broker, redis, storage].map((service) => (service.isRunning() ? undefined : service.start())),
      )
    },
  }
}

function pick(members: readonly Member[], { victim }: PlannedFault): Member {
  return members[victim % members.length] as Member
}

/** Waits until another member is ready: on a slow machine all would be down, and a dead fleet shows nothing. */
async function end(
  members: readonly Member[],
  fault: PlannedFault,
  how: 'kill' | 'terminate',
): Promise<void> {
  const victim = pick(members, fault)
  while (!members.some((member) => member !== victim && member.address() !== undefined)) await sleep(50)
  victim[how]()
}

async function killAndStart(service: ServiceControl, downMs: number): Promise<void> {
  await service.kill()
  await sleep(downMs)
  await service.start()
}

async function freeze(pid: number | undefined, ms: number): Promise<void> {
  signal(pid, 'SIGSTOP')
  await sleep(ms)
  signal(pid, 'SIGCONT')
}

/** A process that is starting or gone already is left alone. */
function signal(pid: number | undefined, name: NodeJS.Signals): void {
  if (pid !== undefined && isAlive(pid)) process.kill(pid, name)
}

function oneAtATime(): (action: () => Promise<void>) => Promise<void> {
  let last: Promise<void> = Promise.resolve()
  return (action) => {
    const mine = last.then(action)
    last = mine.catch(() => {})
    return mine
  }
}

/** A proxy forgets all its faults at once: the end of one of several leaves the others in place. */
function overlapping(proxy: FaultProxy): (ms: number, begin: (proxy: FaultProxy) => void) => Promise<void> {
  let active = 0
  return async (ms, begin) => {
    active += 1
    begin(proxy)
    await sleep(ms)
    active -= 1
    if (active === 0) await proxy.pass()
  }
}
