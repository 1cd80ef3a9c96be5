import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  closeSync,
  globSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  statfsSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Cleanup, groupOf, tempFolder } from '../cleanup.ts'
import { waitFor } from '../kit/waiting.ts'
import { startServer, submit, untilFinal, view } from '../service/server-process.ts'
import { ensureInstalled } from '../services/packages.ts'
import { services } from '../services/services.ts'
import { endWell, post, untilRuns, untilSays } from './crew.ts'
import { prepareFleet } from './fleet.ts'

/** F19 to F21: clocks that are wrong or jump, and a disk without room. */

const library = () => globSync('/usr/lib/*/faketime/libfaketimeMT.so.1')[0]

/** The environment of a process with a shifted clock: by a fixed offset, or by one read from a file. */
async function otherClock(offset: { fixed: string } | { file: string }): Promise<Record<string, string>> {
  await ensureInstalled('faketime (libfaketime)', () => library() !== undefined)
  const common = {
    LD_PRELOAD: library() ?? '',
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
    NO_FAKE_STAT: '1',
    FAKETIME_DONT_RESET: '1',
  }
  if ('fixed' in offset) return { ...common, FAKETIME: offset.fixed }
  return { ...common, FAKETIME_TIMESTAMP_FILE: offset.file, FAKETIME_NO_CACHE: '1' }
}

test('F19: processes whose clock is 20 minutes ahead work with a storage that refuses 15', async (t) => {
  const all = await services()
  const fleet = await prepareFleet(t, all)
  const ahead = await otherClock({ fixed: '+20m' })
  const crew = { servers: [fleet.server(), fleet.server(ahead)], workers: [fleet.worker(ahead)] }
  const [right = '', wrong = ''] = await Promise.all(crew.servers.map((server) => server.address))
  const ids: string[] = []
  for (const address of [right, wrong]) ids.push((await submit(address, { prompt: '10ms' })).id)
  for (const id of ids) {
    for (const address of [right, wrong]) {
      const { status, images } = await untilFinal(address, id)
      assert.equal(status, 'succeeded')
      assert.equal((await fetch(address + images[0]?.url)).status, 200)
    }
  }
  for (const program of [...crew.servers.slice(1), ...crew.workers]) {
    await untilSays(program, "the clock of this machine is 20 minutes ahead of the storage's")
  }
  assert.doesNotMatch(crew.servers[0]?.output() ?? '', /the clock of this machine/)
  await endWell(fleet, all, { ...crew, addresses: [right, wrong] }, ids)
})

/** A file with the clock offset of running processes. */
function clockFile(t: Cleanup) {
  const file = join(tempFolder(t), 'offset')
  const set = (offset: string) => {
    // whole at any moment: the library reads it at each look at the clock
    writeFileSync(`${file}.new`, `${offset}\n`)
    renameSync(`${file}.new`, file)
  }
  set('+0')
  return { file, set }
}

test('F20: a clock that jumps while jobs run changes nothing', async (t) => {
  const all = await services()
  const fleet = await prepareFleet(t, all)
  const clock = clockFile(t)
  const gate = join(tempFolder(t), 'gate')
  const env = { ...(await otherClock({ file: clock.file })), TEST_TELL: '1', TEST_GATE: gate }
  const [server, worker] = [fleet.server(env), fleet.worker(env)]
  const address: string = await server.address
  await worker.address
  const parts = await fleet.open()
  const ids: string[] = []
  for (const jump of ['+2h', '-2h', '+0']) {
    const { id } = await submit(address, { prompt: 'gate' })
    ids.push(id, (await submit(address, { prompt: '10ms' })).id)
    await waitFor(async () => (await view(address, id)).progress !== undefined)
    clock.set(jump)
    await untilRuns(address, id)
    writeFileSync(gate, '')
    for (const each of ids) assert.equal((await untilFinal(address, each)).status, 'succeeded')
    assert.equal((await parts.status.load()).workers, 1)
    rmSync(gate)
  }
  for (const id of ids) {
    assert.equal((await parts.images.getManifest(id))?.attempts, 1, worker.output().slice(-8000))
  }
  assert.equal(worker.workers().length, 1)
  assert.equal(worker.output().split('engine begins').length, 1 + ids.length)
  assert.doesNotMatch(worker.output() + server.output(), /was lost|is lost/)
  await endWell(fleet, all, { servers: [server], workers: [worker], addresses: [address] }, ids)
})

test('F20: embedded, a clock that jumps keeps no accepted job waiting and runs none twice', async (t) => {
  const clock = clockFile(t)
  const gate = join(tempFolder(t), 'gate')
  const env = { ...(await otherClock({ file: clock.file })), TEST_TELL: '1', TEST_GATE: gate }
  const server = startServer(t, { ...env, PACKSHOT_DATA_DIR: tempFolder(t) })
  const address = await server.address
  const ids: string[] = []
  for (const jump of ['+2h', '-2h', '+0']) {
    const running = await submit(address, { prompt: 'gate' })
    const retried = await submit(address, { prompt: 'throw' })
    const waiting = await submit(address, { prompt: '10ms' })
    await waitFor(async () => (await view(address, running.id)).progress !== undefined)
    clock.set(jump)
    writeFileSync(gate, '')
    assert.equal((await untilFinal(address, running.id)).status, 'succeeded')
    assert.equal((await untilFinal(address, waiting.id)).status, 'succeeded')
    assert.equal((await untilFinal(address, retried.id)).status, 'failed')
    rmSync(gate)
    ids.push(running.id, waiting.id)
  }
  assert.equal(server.workers().length, 1)
  assert.equal(server.output().match(/engine begins "(gate|10ms)"/g)?.length, ids.length)
})

/** A disk of a few megabytes; undefined where this user may not mount one. */
function smallDisk(cleanup: Cleanup, megabytes: number): string | undefined {
  const folder = join(tempFolder(cleanup), 'disk')
  mkdirSync(folder)
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', folder], { stdio: 'pipe' })
  } catch {
    return undefined
  }
  cleanup.after(() => void execFileSync('umount', [folder]))
  return folder
}

test('F21: a full disk refuses new jobs, finishes nothing falsely, and goes on when there is room', async (t) => {
  // the server ends before its disk goes
  const cleanup = groupOf(t)
  const disk = smallDisk(cleanup, 8)
  if (disk === undefined) return t.skip('mounting a small disk needs root')
  const storageRetry = { budgetMs: 60_000, firstMs: 50, longestMs: 500 }
  const env = { PACKSHOT_DATA_DIR: disk, TEST_PATIENCE: JSON.stringify({ storageRetry }), TEST_TELL: '1' }
  const server = startServer(cleanup, env)
  const address = await server.address
  const early = await submit(address, { prompt: 'big 10ms', seed: 1 })
  assert.equal((await untilFinal(address, early.id)).status, 'succeeded')

  const running = await submit(address, { prompt: 'big 300ms', seed: 2 })
  await waitFor(async () => (await view(address, running.id)).progress !== undefined)
  fill(disk)
  const accepted: string[] = []
  // the database has some pages in reserve
  await waitFor(async () => {
    const { status, body } = await post(address, { prompt: '10ms' })
    if (status === 202) accepted.push(body.id)
    else assert.deepEqual([status, body.error?.code], [507, 'storage_full'])
    return status === 507
  })
  await untilSays(server, 'engine made "big 300ms" with seed 2')
  // long enough for the picture to be offered several times
  await sleep(1500)
  assert.match((await view(address, running.id)).status, /queued|running/)
  assert.deepEqual(globSync(join(disk, 'results', '*', running.id, '[0-9m]*')), [])
  assert.equal((await fetch(`${address}/v1/jobs/${early.id}/images/0`)).status, 200)

  rmSync(join(disk, 'filling'))
  for (const id of [running.id, ...accepted]) {
    assert.equal((await untilFinal(address, id)).status, 'succeeded', server.output().slice(-3000))
  }
  const late = await submit(address, { prompt: '10ms' })
  assert.equal((await untilFinal(address, late.id)).status, 'succeeded')
  assert.equal(server.output().split('engine begins "big 300ms"').length, 1 + 1, 'the picture was kept')
  assert.deepEqual(globSync(join(disk, 'results', '**', '.tmp-*')), [])
})

/** Writes a file until nothing fits any more. */
function fill(disk: string): void {
  const file = openSync(join(disk, 'filling'), 'w')
  const { bsize } = statfsSync(disk)
  try {
    assert.throws(() => {
      for (;;) writeSync(file, Buffer.alloc(bsize))
    }, /ENOSPC/)
  } finally {
    closeSync(file)
  }
}
