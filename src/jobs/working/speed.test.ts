import assert from 'node:assert/strict'
import { test } from 'node:test'
import { someTask } from '../../../test/contract/jobs.ts'
import { unitsOf } from '../work.ts'
import { learnSpeed, type Speed } from './speed.ts'

const task = someTask()
const units = unitsOf(task)

/** What is known after jobs of one step that took these multiples of a second for each unit. */
function afterOneStep(speed: Speed, ...each: number[]): number | undefined {
  for (const seconds of each)
    learnSpeed(speed, task, { secondsPerStep: undefined, steps: 1, seconds: seconds * units })
  return speed.secondsPerUnit
}

function afterSteps(speed: Speed, seconds: number): number | undefined {
  learnSpeed(speed, task, { secondsPerStep: (seconds * units) / 10, steps: 10, seconds: 99 * units })
  return speed.secondsPerUnit
}

test('jobs of one step show a speed from the second of a model on, and one that loads a model changes it little', () => {
  const speed: Speed = { secondsPerUnit: undefined }
  assert.equal(afterOneStep(speed, 60), undefined)
  assert.equal(afterOneStep(speed, 4), 4)
  assert.equal(afterOneStep(speed, 2), 3)
  assert.equal(afterOneStep(speed, 1000), 4.5)
})

test('the time between steps counts more than what jobs of one step took, and then alone', () => {
  const speed: Speed = { secondsPerUnit: undefined }
  afterOneStep(speed, 60, 4)
  assert.equal(afterSteps(speed, 1), 1)
  assert.equal(afterOneStep(speed, 4, 4), 1)
  assert.equal(afterSteps(speed, 3), 2)
})
