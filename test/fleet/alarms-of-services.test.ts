import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { dashboards } from '../../scripts/dashboards/all.ts'
import { resolved } from '../../scripts/drawing/page.ts'
import { lastFirst } from '../cleanup.ts'
import { exporters } from '../deploy/known-names.ts'
import { waitFor } from '../kit/waiting.ts'
import { startWatchedFleet, type WatchedFleet } from './watched-fleet.ts'

/** Of the outage of a service exactly one alert arrives, however many fire; and none while all is well. */

let watched: WatchedFleet
// what `after` is given within `before` would be done when that ends
const ending = lastFirst({ after })
before(async () => {
  watched = await startWatchedFleet(ending)
})

test('a fleet that works under load raises no alert, and every panel gets an answer', async () => {
  const { watchers, load } = watched
  await watched.untilAllIsWell()
  watched.told()
  const goal = load.accepted.length + 25
  await waitFor(() => load.accepted.length >= goal)
  await sleep(watchers.seconds(12) * 1000)
  assert.deepEqual(watched.told(), [])
  const to = Date.now() / 1000
  const range = { from: to - watchers.seconds(30), to, step: 1 }
  for (const { title, rows } of Object.values(dashboards)) {
    for (const panel of rows.flatMap(({ panels }) => panels)) {
      for (const { expr } of panel.queries ?? []) {
        // a panel leaves out what does not happen: here it is enough that it is counted
        const found = await watchers.query(resolved(expr, range, watchers.scrapeSeconds).replace(/ > 0$/, ''))
        if (!mayBeEmpty.test(expr)) assert.notDeepEqual(found, [], `${title}: ${panel.title}: ${expr}`)
      }
    }
  }
  const { traefik: _notHere, ...real } = exporters
  for (const name of Object.values(real).flat()) {
    const found = await watchers.query(`${name}`)
    assert.ok(found.length > 0 || name === 'ALERTS', name)
  }
})

/** No proxy and no results in a data folder here; what only faults or seven days have. */
const mayBeEmpty = /traefik|packshot_disk_free|outcome!="ok"|status="failed"|ALERTS|refused|busy == 1/

for (const [name, service, alert] of [
  ['storage', 'storage', 'PackshotDependencyDown'],
  ['status', 'redis', 'PackshotStatusStoreDown'],
  ['queue', 'broker', 'PackshotDependencyDown'],
] as const) {
  test(`a service that is unavailable is one alert: ${name}`, async (t) => {
    const { fleet, watchers } = watched
    assert.deepEqual(await watched.toldOf(t, () => fleet[service].refuse()), [alert])
    assert.deepEqual(
      (await watchers.query(`ALERTS{alertname="${alert}"}`)).map(({ metric }) => metric.name),
      [name],
    )
    await fleet[service].pass()
  })
}
