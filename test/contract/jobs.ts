import type { Manifest, ResolvedRequest, Task } from '../../src/jobs/job.ts'
import { createJobIds } from '../../src/jobs/job-id.ts'

/** Jobs for tests: complete and valid, with a test's changes applied. */

export const testIds = createJobIds(Buffer.from('the secret of the tests'))

export function someRequest(changes: Partial<ResolvedRequest> = {}): ResolvedRequest {
  return {
    prompt: 'a red apple',
    negative_prompt: '',
    width: 256,
    height: 256,
    steps: 4,
    guidance_scale: 7,
    sampler: 'dpmpp_2m',
    schedule: 'karras',
    seed: 7,
    count: 1,
    model: 'stand-in',
    format: 'png',
    ...changes,
  }
}

export function someTask(changes: Partial<Task> = {}): Task {
  const now = Date.now()
  return {
    v: 2,
    id: testIds.issue(new Date(now)),
    request: someRequest(),
    created_at: new Date(now).toISOString(),
    expires_at: new Date(now + 3_600_000).toISOString(),
    ...changes,
  }
}

export function someManifest(task: Task, changes: Partial<Manifest> = {}): Manifest {
  const { id, request, created_at, expires_at } = task
  return {
    v: 1,
    id,
    status: 'succeeded',
    request,
    images: [],
    attempts: 1,
    created_at,
    finished_at: new Date().toISOString(),
    expires_at,
    ...changes,
  }
}
