import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Type } from 'typebox'
import { Value } from 'typebox/value'
import { eventOf, JobEvent, Manifest, type Task, taskVersion } from '../../src/jobs/job.ts'
import { createJobIds } from '../../src/jobs/job-id.ts'
import { isTask } from '../../src/jobs/task-check.ts'
import { someTask } from '../contract/jobs.ts'
import { waitFor } from '../kit/waiting.ts'
import { submit, untilFinal, view } from '../service/server-process.ts'
import { services } from '../services/services.ts'
import { endWell, startCrew } from './crew.ts'
import { type Fleet, prepareFleet } from './fleet.ts'
import { rawBroker } from './raw-broker.ts'

/**
 * F29: servers and workers of two releases side by side, while one replaces the other. `previous` was written by the
 * release before this one, and is only ever replaced as a whole, when there is a new release.
 */
const previous = {
  task: `{"v":1,"id":"01kaqrt2m0c9v1x8n3b5z7q2w4hd6f8j0k2m4p6r8t","request":{"prompt":"a red apple","negative_prompt":"","width":256,"height":256,"steps":4,"guidance_scale":7,"sampler":"dpmpp_2m","schedule":"karras","seed":7,"count":1,"model":"stand-in","format":"png"},"created_at":"2026-11-22T14:00:00.000Z","expires_at":"2026-11-23T14:00:00.000Z"}`,
  succeeded: `{"v":1,"id":"01kaqrt2m0c9v1x8n3b5z7q2w4hd6f8j0k2m4p6r8t","status":"succeeded","at":"2026-11-22T14:00:05.000Z"}`,
  failed: `{"v":1,"id":"01kaqrt2m0c9v1x8n3b5z7q2w4hd6f8j0k2m4p6r8t","status":"failed","at":"2026-11-22T14:00:05.000Z","error":{"code":"out_of_memory","message":"The picture needs more memory than the worker has."}}`,
  manifest: `{
  "v": 1,
  "id": "01kaqrt2m0c9v1x8n3b5z7q2w4hd6f8j0k2m4p6r8t",
  "status": "succeeded",
  "request": {
    "prompt": "a red apple",
    "negative_prompt": "",
    "width": 256,
    "height": 256,
    "steps": 4,
    "guidance_scale": 7,
    "sampler": "dpmpp_2m",
    "schedule": "karras",
    "seed": 7,
    "count": 1,
    "model": "stand-in",
    "format": "png"
  },
  "images": [
    {
      "index": 0,
      "width": 256,
      "height": 256,
      "seed": 7,
      "bytes": 128,
      "sha256": "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
    }
  ],
  "attempts": 1,
  "created_at": "2026-11-22T14:00:00.000Z",
  "started_at": "2026-11-22T14:00:01.000Z",
  "finished_at": "2026-11-22T14:00:05.000Z",
  "expires_at": "2026-11-23T14:00:00.000Z"
}`,
}

const previousVersion = 1

/** What a worker of the release before this one checked a task with; frozen like the texts above. */
const previousTask = Type.Object({
  v: Type.Literal(previousVersion),
  id: Type.String(),
  request: Type.Object(
    {
      prompt: Type.String(),
      negative_prompt: Type.String(),
      width: Type.Integer(),
      height: Type.Integer(),
      steps: Type.Integer(),
      guidance_scale: Type.Number(),
      sampler: Type.String(),
      schedule: Type.String(),
      seed: Type.Integer(),
      count: Type.Integer(),
      model: Type.String(),
      format: Type.Literal('png'),
    },
    { additionalProperties: false },
  ),
  created_at: Type.String(),
  expires_at: Type.String(),
})

const newIdOf = (fleet: Fleet) => createJobIds(Buffer.from(fleet.env.PACKSHOT_SECRET ?? '')).issue(new Date())

test('F29: tasks, events and manifests of the release before are understood', async (t) => {
  assert.ok(isTask(JSON.parse(previous.task)))
  assert.ok(Value.Check(JobEvent, JSON.parse(previous.succeeded)))
  assert.ok(Value.Check(JobEvent, JSON.parse(previous.failed)))
  const manifest: Manifest = Value.Parse(Manifest, JSON.parse(previous.manifest))
  assert.deepEqual(eventOf(manifest), JSON.parse(previous.succeeded))

  const all = await services()
  const fleet = await prepareFleet(t, all)
  const crew = await startCrew(fleet, { servers: 1, workers: 1 })
  const [address] = crew.addresses
  const parts = await fleet.open()
  const raw = rawBroker(t, fleet, all.queueUrl)
  // a job of now, in the words of then
  const id = newIdOf(fleet)
  const task: Task = { ...JSON.parse(previous.task), id, expires_at: someTask().expires_at }
  await raw.put(JSON.stringify(task), { contentType: 'application/json', messageId: id })
  await waitFor(async () => (await view(address, id)).status === 'succeeded')

  const other = { ...task, id: newIdOf(fleet) }
  await parts.status.create(other)
  await parts.images.commit({ ...manifest, id: other.id, expires_at: other.expires_at, images: [] })
  await raw.putEvent(JSON.stringify({ ...JSON.parse(previous.succeeded), id: other.id }))
  await waitFor(async () => (await parts.status.get(other.id))?.status === 'succeeded')
  assert.equal((await view(address, other.id)).status, 'succeeded')
})

test('F29: a task of this release waits for workers of this release', async (t) => {
  const all = await services()
  const fleet = await prepareFleet(t, all)
  const address: string = await fleet.server().address
  const raw = rawBroker(t, fleet, all.queueUrl)
  for (const [priority, queue] of [
    [{}, 'tasks.interactive.v1'],
    [{ priority: 'batch' }, 'tasks.batch.v1'],
  ] as const) {
    const { id } = await submit(address, { prompt: 'an apple', ...priority })
    const task = await raw.takeAndDie(queue)
    // a worker of the release before puts back what has a higher version than its own
    assert.ok(!Value.Check(previousTask, task) && isTask(task) && task.id === id)
    assert.equal(task.v, previousVersion + 1)
    // and nothing but the version keeps a plain request from it
    assert.deepEqual([...Value.Errors(previousTask, { ...task, v: previousVersion })], [])
  }
})

test('F29: a task of a newer version waits for a newer worker, and this release works past it', async (t) => {
  const all = await services()
  const fleet = await prepareFleet(t, all)
  const crew = await startCrew(fleet, { servers: 1, workers: 2 })
  const [address] = crew.addresses
  const raw = rawBroker(t, fleet, all.queueUrl)
  const id = newIdOf(fleet)
  const newer = { ...someTask({ id }), v: taskVersion + 1, novelty: { of: 'another shape' } }
  await raw.put(JSON.stringify(newer), { contentType: 'application/json', messageId: id })
  const waits = { 'tasks.retry.30s.v1': 1 }
  const isBack = async () => (await raw.ready())['tasks.retry.30s.v1'] === 1
  const ids: string[] = []
  // more often than the broker would deliver a task that is never ended
  for (let round = 0; round < 12; round += 1) {
    await waitFor(isBack)
    await raw.move('tasks.retry.30s.v1', { exchange: 'tasks', routingKey: 'returned.interactive' })
    ids.push((await submit(address, { prompt: '1ms', steps: 1 })).id)
  }
  for (const each of ids) assert.equal((await untilFinal(address, each)).status, 'succeeded')
  await waitFor(isBack)
  await sleep(300)
  let left: Record<string, number> = {}
  // an event of the other jobs may be on its way for longer
  await waitFor(async () => {
    left = await raw.ready()
    return !Object.keys(left).some((queue) => queue.startsWith('events.'))
  })
  assert.deepEqual(left, waits, 'neither parked nor given up')
  assert.equal((await view(address, id)).status, 'queued')

  // as it came; then out of the way
  assert.deepEqual(await raw.takeAndDie('tasks.retry.30s.v1'), newer)
  await raw.move('tasks.retry.30s.v1', { exchange: 'dlx', routingKey: 'dead' })
  await waitFor(async () => (await raw.ready())['parked.v1'] === 1)
  await endWell(fleet, all, crew, ids, { parked: 1 })
})
