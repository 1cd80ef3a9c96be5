import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { lastFirst } from '../cleanup.ts'
import { waitFor } from '../kit/waiting.ts'
import { startWatchedFleet, type WatchedFleet } from './watched-fleet.ts'

/** Of what stops the work exactly one alert arrives, however many fire. Beside `alarms-of-services`, as both take minutes. */

let watched: WatchedFleet
const ending = lastFirst({ after })
before(async () => {
  watched = await startWatchedFleet(ending)
})

test('a broker that is short of disk is one alert', async (t) => {
  const { rabbit } = watched
  ending.after(async () => {
    await rabbit.setShortOfDisk(false).catch(() => {})
  })
  const short = () => rabbit.setShortOfDisk(true)
  assert.deepEqual(await watched.toldOf(t, short), ['PackshotBrokerAlarm'])
  await rabbit.setShortOfDisk(false)
})

test('jobs that wait while all workers are dead are one alert', async (t) => {
  const { workers, watchers } = watched
  // none has waited long before
  await watched.load.stop()
  const isIdle = async () =>
    (await watchers.query('sum(max by (class) (packshot_queue_jobs)) == 0')).length > 0
  await waitFor(isIdle, 180_000)
  const kill = () => {
    for (const { process } of workers) process.kill('SIGKILL')
    watched.load = watched.startLoad(1000)
  }
  // longer than it takes for the ticket about what cannot be scraped
  assert.deepEqual(await watched.toldOf(t, kill, 30), ['PackshotQueueWithoutWorkers'])
})
