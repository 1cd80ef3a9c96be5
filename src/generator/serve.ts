import { parentPort } from 'node:worker_threads'
import { AppError, toAppError } from '../jobs/errors.ts'
import type { ResolvedRequest } from '../jobs/job.ts'
import { imageSeed, stepsOf, triesOf } from '../jobs/pictures.ts'
import type { EnginePhase, GivenImages } from '../jobs/ports.ts'
import type { Delivered } from './deliver.ts'
import type { Look } from './gate.ts'
import type { GenerateMessage, ThreadFault, ThreadMessage, ThreadNews } from './protocol.ts'
import { Slots } from './slots.ts'

/** What the thread's entry file provides: the engine, called with the service's requests. */
export interface PictureMaker {
  /** How many pictures it draws at the same time, of one run or of several; by default one. */
  readonly together?: number
  /** Makes picture `index`, encoded. Throws soon after `signal.aborted` became true. */
  make(
    request: ResolvedRequest,
    index: number,
    hooks: {
      /** `step` counts on over the tries of the picture. */
      onStep: (step: number) => void
      onPhase: (phase: EnginePhase) => void
      signal: { readonly aborted: boolean }
      /** Present when the request names uploads. */
      images?: GivenImages
      /** How the earlier pictures of the run look; this one is added. */
      looks: Look[]
      /** Resolves when those are made, and rejects if one cannot be made. */
      earlier: Promise<void>
      /** Present when previews of this picture are wanted: small JPEG files. */
      previews?: { readonly count: number; readonly show: (bytes: Uint8Array) => void }
    },
  ): Promise<
    Omit<Delivered, 'seed'> & {
      /** Absent: that of the first try. */
      readonly seed?: number
    }
  >
}

/**
 * The thread's side: loads the model, then makes pictures until the thread is ended.
 * @param expected an error of the engine's that users can understand, in words for them; undefined for any other
 */
export async function serveInference(
  load: (tell: (news: ThreadNews) => void) => Promise<PictureMaker>,
  expected: (thrown: unknown) => AppError | undefined,
): Promise<void> {
  const port = parentPort
  if (port === null) throw new Error('serveInference runs in a worker thread only')
  const send = (message: ThreadMessage) => port.postMessage(message)
  try {
    const maker = await load(send)
    const { together = 1 } = maker
    const slots = { drawing: new Slots(together), unsent: new Slots(together === 1 ? 1 : together + 1) }
    port.on('message', (message: GenerateMessage) => void runOne(maker, slots, message, send, expected))
    send({ type: 'ready', together })
  } catch (thrown) {
    send({ type: 'unusable', fault: faultOf(thrown, expected) })
  }
}

/** For the pictures of all runs. */
interface AllSlots {
  readonly drawing: Slots
  /**
   * One picture more than are drawn, if it is several: the file of one is written while others have their steps. A
   * device with one picture at a time is the processor itself, which could do that only later.
   */
  readonly unsent: Slots
}

/** A run is idle when it says that it is done, or failed. */
async function runOne(
  maker: PictureMaker,
  slots: AllSlots,
  { run, request, images, previews: count = 0, abort }: GenerateMessage,
  send: (message: ThreadMessage) => void,
  expected: (thrown: unknown) => AppError | undefined,
): Promise<void> {
  const flag = new Int32Array(abort)
  let failed: { readonly thrown: unknown } | undefined
  const signal = {
    get aborted() {
      return failed !== undefined || Atomics.load(flag, 0) !== 0
    },
  }
  const looks: Look[] = []
  const progress = progressOf(request)
  let found = 0
  let sent: Promise<void> = Promise.resolve()

  const make = async (index: number, earlier: Promise<void>) => {
    const unsent = await slots.unsent.take()
    const drawing = await slots.drawing.take()
    try {
      if (failed !== undefined) throw failed.thrown
      const onStep = (step: number) => {
        send({ type: 'progress', run, ...progress.made(index, step), at: now() })
      }
      const onPhase = (phase: EnginePhase) => {
        if (phase === 'encode') drawing()
        send({ type: 'phase', run, phase, at: now() })
      }
      let shown = 0
      const show = (bytes: Uint8Array) => send({ type: 'preview', run, index: ++shown, bytes })
      const hooks = {
        onStep,
        onPhase,
        signal,
        looks,
        earlier,
        ...(images === undefined ? {} : { images }),
        ...(count > 0 && index === 0 ? { previews: { count, show } } : {}),
      }
      onPhase('load')
      const made = await maker.make(request, index, hooks)
      onPhase('done')
      progress.end(index)
      await earlier
      if (made.measured?.product !== 0 || !needsProduct(request)) found += 1
      if (index === request.count - 1 && found === 0) throw nothingFound(request)
      send({ type: 'image', run, seed: imageSeed(request, index), ...made })
    } catch (thrown) {
      // the first fault is that of the run, and stops its other pictures
      failed ??= { thrown }
      throw thrown
    } finally {
      drawing()
      unsent()
    }
  }
  const pictures: Promise<void>[] = []
  for (let index = 0; index < request.count; index += 1) {
    sent = make(index, sent)
    pictures.push(sent)
  }
  await Promise.allSettled(pictures)
  if (failed === undefined) send({ type: 'done', run })
  else send({ type: 'failed', run, fault: faultOf(failed.thrown, expected) })
}

/** Counts the steps of a run's pictures. Tries of a picture that are not needed leave the sum. */
function progressOf(request: ResolvedRequest) {
  const each = stepsOf(request)
  const most = each * triesOf(request)
  const taken = Array.from({ length: request.count }, () => 0)
  const all = Array.from({ length: request.count }, () => most)
  const sum = (numbers: readonly number[]) => numbers.reduce((total, one) => total + one, 0)
  return {
    /** @param step of the picture, counted on over its tries */
    made(index: number, step: number) {
      taken[index] = step
      return { step: sum(taken), steps: sum(all) }
    },
    end(index: number): void {
      const steps = Math.ceil(Math.max(each, taken[index] ?? 0) / Math.max(1, each)) * each
      taken[index] = steps
      all[index] = steps
    },
  }
}

function needsProduct({ finish }: ResolvedRequest): boolean {
  return finish !== undefined && finish.background !== 'as_made'
}

/** One picture of several may have no product: it is delivered as drawn, and its figures say so. */
function nothingFound({ finish }: ResolvedRequest): AppError {
  const message = `Nothing was found in the picture that stands out from its background, so there is nothing to set on ${finish?.background ?? 'another'}. Ask for finish.background as_made, or describe a single product on a plain background.`
  return new AppError('finish_failed', message, { param: 'finish.background' })
}

/** In milliseconds of Unix time. */
function now(): number {
  return performance.timeOrigin + performance.now()
}

/** Only messages written for users reach them; the rest goes to the log. */
function faultOf(thrown: unknown, expected: (thrown: unknown) => AppError | undefined): ThreadFault {
  const stack = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown)
  const error =
    expected(thrown) ??
    (isOutOfMemory(thrown)
      ? new AppError('out_of_memory', 'The picture needs more memory than the worker has.')
      : toAppError(thrown))
  if (error.code !== 'internal') {
    return { code: error.code, message: error.message, detail: error.detail, stack }
  }
  const message = 'The engine failed on this request.'
  return { code: 'generation_failed', message, detail: undefined, stack }
}

function isOutOfMemory(thrown: unknown): boolean {
  return (
    thrown instanceof Error &&
    /out of memory|bad_alloc|failed to allocate|allocation failed/i.test(thrown.message)
  )
}
