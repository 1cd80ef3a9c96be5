import { createHash } from 'node:crypto'
import { AppError } from '../errors.ts'
import { backgroundUpload } from '../finish.ts'
import type { ManifestImage, Progress, Task } from '../job.ts'
import { bestEffort, type Log } from '../log.ts'
import type { Metrics } from '../metrics.ts'
import type { GivenImages, ImageGenerator, ImageStore, StatusStore } from '../ports.ts'
import { keepPreview } from '../previews.ts'
import { isAskedToStop } from '../stopping.ts'
import { stepMeter } from './measure.ts'
import { type StorageRetry, withStorageRetry } from './storage-retry.ts'

/** One try at a task: makes its pictures and stores each, while it watches for reasons to stop. */

/** Why an attempt was stopped, other than by a fault. `enough`: the pictures that are done were asked for. */
export class Stopped extends Error {
  override readonly name = 'Stopped'
  readonly why: 'lost' | 'stopping' | 'canceled' | 'enough'
  constructor(why: Stopped['why']) {
    super(`The attempt was stopped: ${why}.`)
    this.why = why
  }
}

export interface AttemptLimits {
  /** Limit of a whole attempt. */
  readonly attemptMs: number
  /** Limit without any progress: longer than the slowest step, and than loading the model. */
  readonly stallMs: number
  readonly progressEveryMs: number
  readonly cancelEveryMs: number
}

export const defaultAttemptLimits: AttemptLimits = {
  attemptMs: 1_800_000,
  stallMs: 300_000,
  progressEveryMs: 250,
  cancelEveryMs: 500,
}

export interface AttemptDeps {
  readonly images: ImageStore
  readonly status: StatusStore
  readonly generator: ImageGenerator
  readonly metrics: Metrics
  readonly log: Log
  readonly limits: AttemptLimits
  readonly storageRetry: StorageRetry
}

export interface Made {
  readonly pictures: ManifestImage[]
  /** The time of one step, without what comes before the first; undefined with fewer than two steps. */
  readonly secondsPerStep: number | undefined
  /** Steps of the whole job, as the engine counts them. */
  readonly steps: number
  /** From the beginning until the engine had made the last picture. */
  readonly seconds: number
}

/**
 * Returns the pictures it stored: all, or those that were done when no more were wanted. `onFree` is called when the engine
 * has drawn them. Rejects `Stopped` (lost, stopping, canceled, or enough while none is done), an `AppError` of the generator,
 * `upload_gone`, `timeout`, or `StorageAway`.
 */
export async function makePictures(
  deps: AttemptDeps,
  task: Task,
  started_at: string,
  signals: { lost: AbortSignal; stopping: AbortSignal },
  onFree?: () => void,
): Promise<Made> {
  const watch = startWatch(deps, task, started_at, signals)
  const made: ManifestImage[] = []
  try {
    const { signal, onProgress } = watch
    const images = await givenImages(deps, task, signal)
    const { previews = 0, preview_count: count = previews } = task
    const onPreview = (preview: { index: number; bytes: Uint8Array }) =>
      void bestEffort(deps.log, 'keeping a preview', keepPreview(deps.status, task.id, preview), 'debug')
    const options = {
      signal,
      onProgress,
      ...(onFree === undefined ? {} : { onFree }),
      ...(images === undefined ? {} : { images }),
      ...(count === 0 ? {} : { previews: { count, onPreview } }),
    }
    for await (const picture of deps.generator.generate(task.request, options)) {
      watch.drawn()
      const { bytes, width, height, seed, measured, original, precision } = picture
      const index = made.length
      if (original !== undefined) {
        await withStorageRetry(deps.storageRetry, signal, () =>
          deps.images.putImage(task.id, index, 'original', original),
        )
      }
      await withStorageRetry(deps.storageRetry, signal, () =>
        deps.images.putImage(task.id, index, task.request.format, bytes),
      )
      const sha256 = createHash('sha256').update(bytes).digest('hex')
      made.push({
        index,
        width,
        height,
        seed,
        bytes: bytes.byteLength,
        sha256,
        ...(measured === undefined ? {} : { measured }),
        ...(precision === undefined ? {} : { precision }),
        ...(original === undefined ? {} : { original: original.byteLength }),
      })
      watch.alive()
    }
    if (made.length === task.request.count) return { pictures: made, ...watch.pace() }
    const message = `The engine made ${made.length} pictures instead of ${task.request.count}.`
    throw new AppError('generation_failed', message)
  } catch (thrown) {
    const enough = thrown instanceof Stopped && thrown.why === 'enough' && made.length > 0
    if (enough) return { pictures: made, ...watch.pace() }
    throw thrown
  } finally {
    watch.end()
  }
}

/** The uploads that the task names; undefined when it starts from the prompt alone. */
async function givenImages(
  deps: AttemptDeps,
  { request: { init_image, mask, finish } }: Task,
  signal: AbortSignal,
): Promise<GivenImages | undefined> {
  const fetch = async (field: string, id: string) => {
    const bytes = await withStorageRetry(deps.storageRetry, signal, () => deps.images.getUpload(id))
    if (bytes !== undefined) return bytes
    throw new AppError('upload_gone', `The picture that ${field} names was deleted before the job ran.`)
  }
  const ground = backgroundUpload(finish)
  if (init_image === undefined && ground === undefined) return undefined
  return {
    ...(init_image === undefined ? {} : { init: await fetch('init_image', init_image) }),
    ...(mask === undefined ? {} : { mask: await fetch('mask', mask) }),
    ...(ground === undefined ? {} : { background: await fetch('finish.background', ground) }),
  }
}

/** The pace of a job is known after so many steps and such a share of an attempt; an estimate is off by so much. */
const [paceSteps, paceShare, paceDoubt] = [3, 0.02, 1.2]

function startWatch(
  deps: AttemptDeps,
  task: Task,
  started_at: string,
  signals: { lost: AbortSignal; stopping: AbortSignal },
) {
  const { limits, status, log } = deps
  const { id } = task
  const controller = new AbortController()
  const stop = (why: Stopped['why']) => controller.abort(new Stopped(why))
  const onLost = () => stop('lost')
  const onStopping = () => stop('stopping')
  signals.lost.addEventListener('abort', onLost)
  signals.stopping.addEventListener('abort', onStopping)
  if (signals.lost.aborted) onLost()
  if (signals.stopping.aborted) onStopping()

  const tooSlow = (what: string, ms: number) => () =>
    controller.abort(new AppError('timeout', `${what} ${ms / 1000} seconds.`))
  const began = performance.now()
  let first: { readonly step: number; readonly at: number } | undefined
  let last = { step: 0, steps: 0, at: began }
  let drawnAt = began
  // the next attempt would take as long; but an engine that did nothing at all hangs
  const tooLong = (message: string) =>
    controller.abort(new AppError('timeout', message, first === undefined ? {} : { attempts: 1 }))
  const whole = setTimeout(
    () => tooLong(`The attempt took longer than ${limits.attemptMs / 1000} seconds, the maximum.`),
    limits.attemptMs,
  )
  const stall = setTimeout(tooSlow('The engine made no progress for', limits.stallMs), limits.stallMs)
  const tell = () => {
    const progress = first === undefined ? {} : { progress: { step: last.step, steps: last.steps } }
    return status.advance(id, { status: 'running', started_at, ...progress })
  }
  void bestEffort(log, 'writing that a task runs', tell())
  const look = async () => {
    const state = await status.get(id)
    // A store that was wiped gets the job again; it may have a mark for it.
    if (state === undefined) await status.create(task)
    if (state?.cancel_requested === true || state?.status === 'canceled') stop('canceled')
    else if (state === undefined || state.status === 'queued') await tell()
    else if (task.request.count > 1 && (await isAskedToStop(status, id))) stop('enough')
  }
  const cancel = setInterval(
    () => void bestEffort(log, 'looking for a cancellation', look()),
    limits.cancelEveryMs,
  )

  const meter = stepMeter(deps, task, deps.generator.together?.() ?? 1)
  let reported = Number.NEGATIVE_INFINITY
  const secondsPerStep = () =>
    first === undefined || last.step === first.step
      ? undefined
      : (last.at - first.at) / 1000 / (last.step - first.step)
  /** Ends a job early that cannot end in time, so that it does not hold the worker until then. */
  const checkPace = () => {
    const pace = secondsPerStep()
    if (pace === undefined || first === undefined) return
    if (last.step - first.step < paceSteps || last.at - first.at < limits.attemptMs * paceShare) return
    const seconds = (last.at - began) / 1000 + pace * (last.steps - last.step)
    if (seconds * 1000 < limits.attemptMs * paceDoubt) return
    const most = limits.attemptMs / 1000
    tooLong(`The job would take about ${Math.ceil(seconds)} seconds, but may take ${most}.`)
  }
  return {
    signal: controller.signal,
    alive: () => {
      stall.refresh()
      meter.alive()
    },
    drawn() {
      drawnAt = performance.now()
    },
    pace: () => ({
      secondsPerStep: secondsPerStep(),
      steps: last.steps,
      seconds: (drawnAt - began) / 1000,
    }),
    onProgress(progress: Progress): void {
      stall.refresh()
      const now = performance.now()
      meter.onProgress(progress, now)
      first ??= { step: progress.step, at: now }
      last = { ...progress, at: now }
      checkPace()
      if (now - reported < limits.progressEveryMs) return
      reported = now
      void bestEffort(log, 'writing progress', tell())
    },
    end(): void {
      clearTimeout(whole)
      clearTimeout(stall)
      clearInterval(cancel)
      signals.lost.removeEventListener('abort', onLost)
      signals.stopping.removeEventListener('abort', onStopping)
    },
  }
}
