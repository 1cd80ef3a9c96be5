import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { test } from 'node:test'
import { runChaos } from './chaos.ts'
import { planOf } from './schedule.ts'
import { saveOutputs, scheduleOf, summaryOf } from './summary.ts'

/** The short form of run.ts. TEST_CHAOS_SEED repeats the schedule of an earlier run. */
const seed = Number(process.env.TEST_CHAOS_SEED ?? randomInt(1e9))

test('the same seed gives the same schedule', () => {
  assert.deepEqual(planOf(seed, 180, 500), planOf(seed, 180, 500))
  assert.notDeepEqual(planOf(seed, 180, 500).faults, planOf(seed + 1, 180, 500).faults)
})

test(`nothing is lost, doubled or left over while everything dies (seed ${seed})`, async (t) => {
  const plan = planOf(seed, 30, 60)
  const report = await runChaos(t, plan)
  const story = [summaryOf(plan, report)]
  if (report.faults.length > 0) {
    story.push(scheduleOf(plan), `what the processes printed is in ${saveOutputs(report)}`)
  }
  t.diagnostic(story.join('\n'))
  assert.deepEqual(report.faults, [], story.join('\n'))
})
